import { HostError } from "../../core/errors.ts";
import { isSafeCipher } from "../../core/luks-cipher.ts";
import {
  entriesOf,
  fieldsOf,
  integerIn,
  layoutOf,
  numberIn,
  saysReencrypting,
  textIn,
} from "../../core/luks-layout.ts";
import { readLuksNumber } from "../../core/luks-number.ts";
import type { ApplyContext } from "../state.ts";
import { type BlockDevice, findMapping, isOnDevice, readHolders } from "./block-device.ts";
import type { LuksHeader } from "./luks-header.ts";

/** One line of a crypt mapping as the kernel has it (dm-crypt, kernel documentation). Units of 512 bytes. */
export interface CryptLine {
  readonly length: number;
  readonly cipher: string;
  readonly ivOffset: string;
  /** `major:minor`. */
  readonly device: string;
  readonly offset: number;
  readonly sectorSize: number;
  /** Such as `28:aead`; "" for none. */
  readonly integrity: string;
}

/**
 * The lines of `dmsetup table`, which leaves keys out; undefined when one of them is no crypt target, or does not read.
 * `<start> <length> crypt <cipher> <key> <iv_offset> <device> <offset> [<number of options> <option>…]`
 */
export function parseCryptTable(text: string): readonly CryptLine[] | undefined {
  const lines = text.split("\n").filter((line) => line !== "");
  const read = lines.map((line): CryptLine | undefined => {
    const [, length = "", target, cipher = "", , ivOffset = "", device = "", offset = "", , ...options] =
      line.split(" ");
    const optionOf = (name: string) => options.find((one) => one.startsWith(`${name}:`))?.slice(name.length + 1);
    const numbers = [length, ivOffset, offset, optionOf("sector_size") ?? "512"];
    if (target !== "crypt" || numbers.some((one) => readLuksNumber(one) === undefined)) return undefined;
    if (!/^\d+:\d+$/u.test(device)) return undefined;
    return {
      length: Number(length),
      cipher,
      ivOffset,
      device,
      offset: Number(offset),
      sectorSize: Number(optionOf("sector_size") ?? 512),
      integrity: optionOf("integrity") ?? "",
    };
  });
  return read.length > 0 && read.every((line) => line !== undefined) ? read : undefined;
}

/** dm-crypt's own name of a cipher that LUKS writes otherwise. */
const plainName = (cipher: string): string => cipher.replace(/-plain$/u, "-plain64");

/** What a mapping has that its header does not say, in words; empty for one that is as the header says. */
export function findTableFaults(
  table: readonly CryptLine[] | undefined,
  header: LuksHeader,
  device: Pick<BlockDevice, "bytes" | "number">,
): readonly string[] {
  if (table === undefined) return ["it is no mapping that encrypts"];
  const layout = layoutOf(header);
  const segments = entriesOf(layout, "segments").map((entry) => fieldsOf(layout, "segments", entry));
  const faults: string[] = [];
  const isSplit = saysReencrypting(layout);
  if (!isSplit && table.length !== segments.length) faults.push(`it has ${table.length} parts`);
  for (const [index, line] of table.entries()) {
    const own =
      segments.find((one) => numberIn(one, "offset") === line.offset * 512) ??
      (isSplit ? segments[0] : segments[index]);
    const says = (what: string, is: number | string, wanted: number | string) => {
      if (String(is) !== String(wanted)) faults.push(`its ${what} is "${is}", the header says "${wanted}"`);
    };
    const textOf = (field: string) => textIn(own ?? new Map(), field) ?? "";
    const hasIntegrity = own?.has("integrity.type") === true;
    // with integrity the kernel names both at once: capi:authenc(hmac(sha256),xts(aes))-random
    if (!isSafeCipher(line.cipher)) faults.push(`its cipher is "${line.cipher}"`);
    else if (!hasIntegrity) says("cipher", plainName(line.cipher), plainName(textOf("encryption")));
    says("sector size", line.sectorSize, integerIn(own ?? new Map(), "sector_size"));
    if (hasIntegrity !== (line.integrity !== "")) faults.push(`its integrity is "${line.integrity}"`);
    // what integrity needs lies between the mapping and its device, and moves the data
    if (hasIntegrity || isSplit) continue;
    says("device", line.device, device.number);
    says("offset", line.offset * 512, textOf("offset"));
    says("IV offset", line.ivOffset, textOf("iv_tweak"));
    const size = textOf("size");
    says("size", line.length * 512, size === "dynamic" ? device.bytes - line.offset * 512 : size);
  }
  return faults;
}

/**
 * Whether a mapping that was just opened is what its header says, by the kernel's own table, in which no key is shown: cipher,
 * sector size, offset, size and device. Throws HostError `mapping-differs` otherwise.
 */
export async function assertMapping(
  { host, signal }: Pick<ApplyContext, "host" | "signal">,
  name: string,
  device: BlockDevice,
  header: LuksHeader,
): Promise<void> {
  const mapping = await findMapping(host, name);
  const now =
    mapping && (await isOnDevice(host, mapping.kernelName, { holders: await readHolders(host, device.kernelName) }));
  const { stdout } = await host.run(["dmsetup", "table", "--", name], { signal });
  const faults = [
    ...(now === true ? [] : [`it does not lie on "${device.path}"`]),
    ...findTableFaults(parseCryptTable(stdout), header, device),
  ];
  if (faults.length === 0) return;
  throw new HostError("mapping-differs", `cannot use "/dev/mapper/${name}": ${faults.join("; ")}`, {
    hint: "nothing was read from it or written to it",
    facts: { name, device: device.path },
  });
}
