import type { Host } from "../../core/host.ts";
import { formatSize } from "../../core/units.ts";

/** What tells a block device from any other that could come to have its name, or its number. */
export interface DeviceIdentity {
  /** `major:minor`; "" for a file. */
  readonly number: string;
  /** The kernel counts disks, and a disk whose medium is changed anew (`diskseq`); "" before Linux 5.15. */
  readonly sequence: string;
  /** First sector of a partition in its disk; "" for what is none. */
  readonly start: string;
  /** Device-mapper's UUID, which an LVM or LUKS volume keeps whatever it is called; "" for none. */
  readonly mappingUuid: string;
  readonly bytes: number;
}

async function readText(host: Host, path: string): Promise<string> {
  return (await host.readFile(path))?.toString("utf8").trim() ?? "";
}

/** The device that has this number now; undefined when none has. Reads a few small files of /sys. */
export async function readDeviceIdentity(host: Host, number: string): Promise<DeviceIdentity | undefined> {
  const directory = `/sys/dev/block/${number}`;
  const [size, own, start, mappingUuid] = await Promise.all([
    readText(host, `${directory}/size`),
    readText(host, `${directory}/diskseq`),
    readText(host, `${directory}/start`),
    readText(host, `${directory}/dm/uuid`),
  ]);
  if (size === "") return undefined;
  // a partition is as old as its disk
  const sequence = own === "" && start !== "" ? await readText(host, `${directory}/../diskseq`) : own;
  return { number, sequence, start, mappingUuid, bytes: Number(size) * 512 };
}

/**
 * Whether both are one device. Its size counts unless `isResizable`: what was just made larger is no other device; one whose
 * size changed between the look and the act is not what was looked at.
 */
export function isSameDevice(
  a: DeviceIdentity,
  b: DeviceIdentity | undefined,
  { isResizable = false }: { readonly isResizable?: boolean } = {},
): boolean {
  return (
    b !== undefined &&
    a.number === b.number &&
    a.sequence === b.sequence &&
    a.start === b.start &&
    a.mappingUuid === b.mappingUuid &&
    (isResizable || a.bytes === b.bytes)
  );
}

/** For messages: `device 7:3 (disk sequence 12, 8 MiB)`. */
export function describeIdentity(identity: DeviceIdentity | undefined): string {
  if (identity === undefined) return "no device";
  const { number, sequence, mappingUuid, bytes } = identity;
  const parts = [sequence && `disk sequence ${sequence}`, mappingUuid && `uuid ${mappingUuid}`, formatSize(bytes)];
  return number === "" ? "a file" : `device ${number} (${parts.filter(Boolean).join(", ")})`;
}
