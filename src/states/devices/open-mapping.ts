import { setTimeout as delay } from "node:timers/promises";
import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import {
  type BlockDevice,
  type DeviceMapping,
  findMapping,
  isOnDevice,
  OWN_PIECE,
  readHolders,
  readMapping,
} from "./block-device.ts";
import { type CryptLine, parseTable, type TableLine } from "./crypt-table.ts";
import { findTableFaults, type TableRule } from "./crypt-table-faults.ts";
import type { LuksHeader } from "./luks-header.ts";
import { isReencrypting } from "./luks-reencryption.ts";

type Acting = { readonly host: Host; readonly signal: AbortSignal };

/** cryptsetup's pieces lie on each other, two deep. */
const MAX_DEPTH = 4;
/** A re-encryption puts other tables in, again and again. */
const LOOKS = 5;
const LOOK_AGAIN_MS = 100;
/** dmsetup(8): no such device. */
const GONE = 1;

/** `CRYPT-LUKS2-<uuid without dashes>-`, as cryptsetup begins the UUIDs of its mappings of a header. */
export const mappingUuidOf = (luksUuid: string): string => `CRYPT-LUKS2-${luksUuid.replaceAll("-", "")}-`;

async function readTable({ host, signal }: Acting, name: string): Promise<readonly TableLine[] | undefined> {
  const { stdout, exitCode } = await host.run(["dmsetup", "table", "--", name], { okCodes: [0, GONE], signal });
  return exitCode === 0 ? parseTable(stdout) : undefined;
}

/**
 * The crypt lines of a mapping. While it is re-encrypted it lies on cryptsetup's own pieces, which are looked through. A text where
 * a part of it is something else: what it is.
 */
async function readCryptLines(acting: Acting, name: string, depth = 0): Promise<readonly CryptLine[] | string> {
  const found: CryptLine[] = [];
  const table = await readTable(acting, name);
  if (table === undefined) return "its table does not read";
  for (const part of table) {
    if (part.kind === "crypt") found.push(part.line);
    else if (part.kind === "other") return `a part of it is "${part.target}", and does not encrypt`;
    else {
      const below = await readMapping(acting.host, `/sys/dev/block/${part.line.device}`);
      const isPiece = below !== undefined && OWN_PIECE.test(below.uuid) && depth < MAX_DEPTH;
      if (!isPiece) return `a part of it is "linear", and does not encrypt`;
      const inner = await readCryptLines(acting, below.name, depth + 1);
      if (typeof inner === "string") return inner;
      found.push(...inner);
    }
  }
  return found;
}

async function lookOnce(
  acting: Acting,
  mapping: DeviceMapping & { readonly kernelName: string },
  device: BlockDevice,
  header: LuksHeader,
  rule: TableRule,
): Promise<readonly string[]> {
  const { host } = acting;
  const faults: string[] = [];
  const holders = await readHolders(host, device.kernelName);
  if (!(await isOnDevice(host, mapping.kernelName, { holders }))) faults.push(`it does not lie on "${device.path}"`);
  if (!mapping.uuid.startsWith(mappingUuidOf(header.uuid))) {
    faults.push(`its UUID is "${mapping.uuid}", the header's is ${header.uuid}`);
  }
  const lines = await readCryptLines(acting, mapping.name);
  return [...faults, ...(typeof lines === "string" ? [lines] : findTableFaults(lines, header, device, rule))];
}

/**
 * What a mapping is that the header on its device does not say, by the kernel's own table, in which no key is shown: device and
 * UUID, cipher, size of key and sectors, offset, size, integrity, options. In words; empty for one that is as it says.
 */
export async function findMappingFaults(
  acting: Acting,
  name: string,
  device: BlockDevice,
  header: LuksHeader,
  rule: TableRule,
): Promise<readonly string[]> {
  for (let look = 1; ; look += 1) {
    const mapping = await findMapping(acting.host, name);
    const faults = mapping === undefined ? ["it is not there"] : await lookOnce(acting, mapping, device, header, rule);
    if (faults.length === 0 || look === LOOKS || !isReencrypting(header.metadata)) return faults;
    await delay(LOOK_AGAIN_MS, undefined, { signal: acting.signal });
  }
}

/** Throws HostError `mapping-differs`, every fault named, for a mapping that is not what its header says. */
export async function assertMapping(
  acting: Acting,
  name: string,
  device: BlockDevice,
  header: LuksHeader,
  rule: TableRule,
): Promise<void> {
  const faults = await findMappingFaults(acting, name, device, header, rule);
  if (faults.length === 0) return;
  throw new HostError("mapping-differs", `cannot use "/dev/mapper/${name}": ${faults.join("; ")}`, {
    hint: `somebody else may have put it there; nothing was read from it or written to it: end what uses it, \`cryptsetup close ${name}\` (or \`dmsetup remove ${name}\`), and start the volume again`,
    facts: { name, device: device.path },
  });
}
