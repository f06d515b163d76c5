import type { EscrowedHeader } from "../../core/volume-header.ts";
import type { VolumeProblem, VolumeReport } from "../../core/volume-report.ts";
import { trustedMarks } from "./header.ts";
import type { LuksFacts } from "./inspect-luks.ts";

const problem = (code: string, text: string, fatal = false): VolumeProblem => ({ code, text, fatal });

/** A time in words for people, from milliseconds since the epoch. */
const timeOf = (ms: number) => new Date(ms).toISOString().slice(0, 19).replace("T", " ");

/**
 * What differs between a header as it is and what the master has in escrow: keyslots that nobody of ours made, slots that
 * are gone, another header, another disk. Nothing when there is no escrow yet: the first one is the measure.
 */
export function findDrift(
  facts: Pick<LuksFacts, "header" | "slots" | "digest">,
  headers: readonly EscrowedHeader[],
  disk: VolumeReport["disk"],
): readonly VolumeProblem[] {
  const { uuid } = facts.header;
  const [newest] = headers;
  if (newest === undefined) return [];
  if (newest.luksUuid !== uuid) {
    const text = `the LUKS header is another one (${uuid}) than the one in escrow (${newest.luksUuid})`;
    return [problem("header-replaced", text)];
  }
  const found: VolumeProblem[] = [];
  const trusted = trustedMarks(uuid, headers) ?? new Set();
  const unknown = facts.slots.filter(({ version, mark }) => version === 0 && !trusted.has(mark));
  for (const { slot, kdf } of unknown) {
    found.push(problem("unknown-slot", `keyslot ${slot} (${kdf}) was made by nobody of ours: it opens the volume`));
  }
  const present = new Set(facts.slots.map(({ mark }) => mark));
  const gone = newest.slots.filter(({ mark, version }) => !present.has(mark) && version > 0);
  // after a rotation that was not backed up the old slot is gone and a new one of ours is there
  const isReplaced = facts.slots.some(({ version }) => gone.every((one) => version > one.version));
  for (const { slot, version } of isReplaced ? [] : gone) {
    found.push(problem("slot-gone", `keyslot ${slot} of version ${version} of the stored key is gone`));
  }
  if (found.length > 0 && newest.digest !== facts.digest) {
    const text = `the header differs from the one in escrow of ${timeOf(newest.at)} (version ${newest.version})`;
    found.push(problem("header-changed", text));
  }
  if (isOtherDisk(newest.disk, disk)) {
    found.push(problem("disk-changed", "the disk below is another one than when the header went into escrow"));
  }
  return found;
}

/** Whether two fingerprints tell two disks apart: by the UUIDs of physical volumes, else by serial. */
export function isOtherDisk(was: VolumeReport["disk"], is: VolumeReport["disk"]): boolean {
  if (was.pvUuids.length > 0 && is.pvUuids.length > 0) {
    // a group that has grown by a disk is still the same
    return !was.pvUuids.some((uuid) => is.pvUuids.includes(uuid));
  }
  return was.serial !== "" && is.serial !== "" && was.serial !== is.serial;
}
