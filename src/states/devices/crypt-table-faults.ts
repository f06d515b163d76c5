import { isSafeCipher } from "../../core/luks-cipher.ts";
import {
  entriesOf,
  fieldsOf,
  integerIn,
  layoutOf,
  listIn,
  type LuksLayout,
  numberIn,
  saysReencrypting,
  textIn,
} from "../../core/luks-layout.ts";
import type { BlockDevice } from "./block-device.ts";
import { type CryptLine, optionOf } from "./crypt-table.ts";
import type { LuksHeader } from "./luks-header.ts";

/** How much of a table has to be as the header and the state say. */
export interface TableRule {
  /** The state asks for it. */
  readonly discards: boolean;
  /**
   * Right after an open of ours everything is. Later the device below may have grown, and discards, which show a thief how much is
   * used and change no data, are as whoever opened it wanted them.
   */
  readonly since: "just-opened" | "open-before";
}

/** They change how fast it is, not what it is. */
const OF_SPEED: ReadonlySet<string> = new Set([
  "same_cpu_crypt",
  "submit_from_crypt_cpus",
  "high_priority",
  "no_read_workqueue",
  "no_write_workqueue",
]);

/** dm-crypt's own name of a cipher that LUKS writes otherwise. */
const plainName = (cipher: string): string => cipher.replace(/-plain$/u, "-plain64");

/** A cipher and what proves its sectors, by the one name that the kernel has for both (cryptsetup, lib/libdevmapper.c). */
function kernelName(cipher: string, integrity: string): string {
  const [name = "", mode = "", ...rest] = cipher.split("-");
  const iv = rest.length === 0 ? mode : rest.join("-");
  const inner = rest.length === 0 ? name : `${mode}(${name})`;
  if (integrity === "aead") return `capi:${inner}-${iv}`;
  return integrity === "poly1305"
    ? `capi:rfc7539(${name},poly1305)-${iv}`
    : `capi:authenc(${integrity},${inner})-${iv}`;
}

/** What options that bear on the data say otherwise; sizes are compared elsewhere. */
function optionFaults(line: CryptLine, hasIntegrity: boolean, mayDiscard: boolean): readonly string[] {
  return line.options.flatMap((option) => {
    const [name = ""] = option.split(":", 1);
    if (OF_SPEED.has(option) || name === "sector_size") return [];
    if (option === "allow_discards") return mayDiscard ? [] : ["it hands discards down, which nobody asked for"];
    if (name === "integrity" || name === "integrity_key_size") {
      return hasIntegrity ? [] : [`its integrity is "${option}", the header has none`];
    }
    // LUKS2 counts IVs in sectors of 512 bytes, whatever a sector is
    return [`it has the option "${option}", which no header can ask for`];
  });
}

/** Sizes that the volume key has by its keyslots. */
const keySizes = (layout: LuksLayout): readonly number[] =>
  entriesOf(layout, "keyslots")
    .map((entry) => fieldsOf(layout, "keyslots", entry))
    .filter((fields) => textIn(fields, "type") === "luks2")
    .map((fields) => integerIn(fields, "key_size"));

/** What a mapping has that its header does not say, in words; empty for one that is as the header says. */
export function findTableFaults(
  table: readonly CryptLine[],
  header: LuksHeader,
  device: Pick<BlockDevice, "bytes" | "number">,
  { discards, since }: TableRule,
): readonly string[] {
  const layout = layoutOf(header);
  const segments = entriesOf(layout, "segments").map((entry) => fieldsOf(layout, "segments", entry));
  const faults: string[] = [];
  const isSplit = saysReencrypting(layout);
  if (!isSplit && table.length !== segments.length) faults.push(`it has ${table.length} parts`);
  const keys = keySizes(layout);
  const isAllowed = listIn(layout, "config.flags")?.includes("allow-discards") === true;
  const mayDiscard = discards || isAllowed || since === "open-before";
  for (const [index, line] of table.entries()) {
    const own: LuksLayout =
      segments.find((one) => numberIn(one, "offset") === line.offset * 512) ??
      segments[isSplit ? 0 : index] ??
      new Map<string, string>();
    const says = (what: string, is: number | string, wanted: number | string) => {
      if (String(is) !== String(wanted)) faults.push(`its ${what} is "${is}", the header says "${wanted}"`);
    };
    const integrity = textIn(own, "integrity.type");
    const encryption = textIn(own, "encryption") ?? "";
    if (!isSafeCipher(line.cipher)) faults.push(`its cipher is "${line.cipher}"`);
    else if (integrity === undefined) says("cipher", plainName(line.cipher), plainName(encryption));
    else says("cipher", line.cipher, kernelName(encryption, integrity));
    says("sector size", optionOf(line, "sector_size") ?? "512", integerIn(own, "sector_size"));
    if (keys.length > 0 && !keys.includes(line.keyBytes)) says("key size", line.keyBytes, keys[0] ?? 0);
    faults.push(...optionFaults(line, integrity !== undefined, mayDiscard));
    const tag = optionOf(line, "integrity");
    if (integrity !== undefined && !/^[1-9]\d*:aead$/u.test(tag ?? "")) faults.push(`its integrity is "${tag ?? ""}"`);
    // what integrity needs lies between the mapping and its device, and moves the data
    if (integrity !== undefined || isSplit) continue;
    says("device", line.device, device.number);
    says("offset", line.offset * 512, textIn(own, "offset") ?? "");
    says("IV offset", line.ivOffset, textIn(own, "iv_tweak") ?? "");
    const size = textIn(own, "size") ?? "";
    const whole = device.bytes - line.offset * 512;
    // what lies below may have grown since
    if (size === "dynamic" && since === "open-before" && line.length * 512 <= whole) continue;
    says("size", line.length * 512, size === "dynamic" ? whole : size);
  }
  return faults;
}
