import type { EscrowedHeader } from "../../core/volume-header.ts";
import type { VolumeReport } from "../../core/volume-report.ts";
import { isOtherDisk } from "./drift.ts";

/** What is on the device where a header would be restored to. */
export interface Present {
  /** `sound`: a LUKS2 header that reads; `damaged`: traces of one; `foreign`: something else; `nothing`: no signature. */
  readonly kind: "sound" | "damaged" | "foreign" | "nothing";
  /** What a foreign device holds. */
  readonly finding: string;
  readonly luksUuid: string;
  readonly volumeKey: string;
  readonly digest: string;
  readonly slots: readonly {
    readonly slot: number;
    readonly kdf: string;
    readonly mark: string;
    readonly version: number;
  }[];
  readonly deviceBytes: number;
  readonly disk: VolumeReport["disk"];
  /** UUID of the LUKS header that the open mapping was made from; undefined when it is closed. */
  readonly openUuid: string | undefined;
}

/** What a restore would do. */
export interface RestorePlan {
  /** Keyslots that come back, go, or hold another key afterwards; in words. */
  readonly differences: readonly string[];
  /** Why it is not done; empty when it may be. */
  readonly refusals: readonly string[];
  /** The header on the device is this very one already. */
  readonly isDone: boolean;
}

function slotDifferences(wanted: EscrowedHeader, present: Present): readonly string[] {
  const named = ({ kdf, version }: { readonly kdf: string; readonly version: number }) =>
    version > 0 ? `version ${version} of the stored key` : `a key of somebody's (${kdf})`;
  const numbers = [...new Set([...wanted.slots, ...present.slots].map(({ slot }) => slot))].toSorted((a, b) => a - b);
  return numbers.flatMap((number) => {
    const then = wanted.slots.find(({ slot }) => slot === number);
    const now = present.slots.find(({ slot }) => slot === number);
    if (then?.mark === now?.mark) return [];
    if (now === undefined && then !== undefined) return [`keyslot ${number} comes back: ${named(then)}`];
    if (then === undefined && now !== undefined) return [`keyslot ${number} goes: ${named(now)}`];
    if (then === undefined || now === undefined) return [];
    return [`keyslot ${number} opens with ${named(then)} again, no longer with ${named(now)}`];
  });
}

/**
 * Whether a header in escrow may take the place of what is on the device, and what would differ. It must be the same LUKS
 * volume on the same disk, with room for it; an open mapping must provably use the same volume key. `all` is everything in
 * escrow of the volume: what stands for a present header that does not read.
 */
export function planRestore(wanted: EscrowedHeader, present: Present, all: readonly EscrowedHeader[]): RestorePlan {
  const refusals: string[] = [];
  const refuse = (why: string) => refusals.push(why);
  const was = wanted.disk;
  const is = present.disk;
  const isSound = present.kind === "sound";
  if (present.kind === "foreign") refuse(`the device ${present.finding}, and is not this volume`);
  if (isSound && present.luksUuid !== wanted.luksUuid) {
    refuse(`the device is another LUKS volume (${present.luksUuid}, not ${wanted.luksUuid})`);
  }
  if (isOtherDisk(was, is)) refuse(`it is another disk (${diskText(is)}) than the header came from (${diskText(was)})`);
  if (present.deviceBytes < wanted.deviceBytes) {
    refuse(`the device has ${present.deviceBytes} bytes, less than the ${wanted.deviceBytes} that it had`);
  }
  const isProvenDisk =
    !isOtherDisk(was, is) && (was.pvUuids.length > 0 ? is.pvUuids.length > 0 : was.serial !== "" && is.serial !== "");
  if (!isSound && !isProvenDisk && present.openUuid !== wanted.luksUuid) {
    refuse("nothing proves that it is the disk that the header came from: no header that reads, no serial, no LVM");
  }
  // what the data is encrypted with: as the header says, or as the newest one in escrow said
  const volumeKey = isSound ? present.volumeKey : all.find(({ luksUuid }) => luksUuid === wanted.luksUuid)?.volumeKey;
  if (volumeKey !== undefined && volumeKey !== wanted.volumeKey && (!isSound || present.luksUuid === wanted.luksUuid)) {
    refuse("it was encrypted with another volume key since: this header could not read the data any more");
  }
  if (present.openUuid !== undefined && present.openUuid !== wanted.luksUuid) {
    refuse(`it is open, and was opened as ${present.openUuid}`);
  }
  const grown =
    present.deviceBytes > wanted.deviceBytes ? [`the device has grown since, to ${present.deviceBytes} bytes`] : [];
  const header = isSound ? [] : [`the header on the device is ${present.kind === "damaged" ? "damaged" : "gone"}`];
  return {
    differences: [...header, ...slotDifferences(wanted, present), ...grown],
    refusals,
    isDone: isSound && present.digest === wanted.digest,
  };
}

function diskText({ serial, bytes, pvUuids }: VolumeReport["disk"]): string {
  return pvUuids.length > 0 ? `physical volumes ${pvUuids.join(", ")}` : `${serial || "no serial"}, ${bytes} bytes`;
}
