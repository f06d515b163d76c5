import type { Clock } from "../../core/clock.ts";
import type { LayerStatus, VolumeStatus } from "../../core/volume-status.ts";
import { boundedReport, type VolumeProblem, type VolumeReport } from "../../core/volume-report.ts";
import { volumePlaces } from "../../states/volume/places.ts";
import { keyPathOf, type VolumeSpec } from "../../states/volume/spec.ts";
import { readCheckNote } from "./check-note.ts";
import { isVolumeLocked } from "./suspended.ts";
import { inspectBase, inspectLvm } from "./inspect-base.ts";
import { inspectContent, inspectDependents } from "./inspect-content.ts";
import { inspectLuks, type LuksFacts, reportedSlots } from "./inspect-luks.ts";
import type { InspectContext } from "./layer-status.ts";

const MAX_PROBLEMS = 20;

/** What `inspectVolume` needs; every VolumeContext has it. */
export interface StatusContext extends InspectContext {
  readonly machine: { readonly clock: Pick<Clock, "now">; readonly config: { readonly stateDir: string } };
}

/**
 * Looks at every layer of a volume: /sys, headers, the mount table, space, and one `systemctl show` for its dependents.
 * Changes nothing, needs no key and no master. A disk that does not read makes a layer `warn`, not an error.
 */
export async function inspectVolume(context: StatusContext): Promise<VolumeStatus> {
  const { host, volume, machine } = context;
  const places = await volumePlaces(host, volume);
  const base = await inspectBase(context, places);
  const lvm = await inspectLvm(context, places, base.devices);
  const luks = await inspectLuks(context, places);
  const below = [...base.layers, ...lvm.layers, ...luks.layers];
  // nothing of what is on a suspended mapping can be read: whoever tries waits for ever
  const isLocked = await isVolumeLocked(host, volume);
  const content = isLocked
    ? { layers: [], problems: [] }
    : await inspectContent(context, places, below.at(-1)?.base ?? []);
  const dependents = await inspectDependents(context);
  const layers = [...below, ...content.layers, ...dependents.layers];
  const { facts } = luks;
  const note = await readCheckNote(host, machine.config.stateDir, volume.name);
  const isSame = note !== undefined && facts?.digest === note.headerDigest && note.headerDigest !== "";
  const problems = [...base.problems, ...lvm.problems, ...luks.problems, ...content.problems];
  const report: VolumeReport = {
    volume: volume.name,
    at: machine.clock.now(),
    state: isLocked ? "locked" : overallState(volume, layers),
    keyPath: keyPathOf(volume) ?? "",
    device: places.encrypted ?? "",
    luksUuid: facts?.header.uuid.slice(0, 64) ?? "",
    headerDigest: facts?.digest ?? "",
    slots: facts === undefined ? [] : reportedSlots(facts),
    proven: isSame ? note.proven : { version: 0, at: 0 },
    disk: { serial: base.serial, bytes: base.bytes, pvUuids: [...lvm.pvUuids] },
    problems: withoutDoubles([...problems, ...(isSame ? note.problems : [])]).slice(0, MAX_PROBLEMS),
  };
  return { layers, report: boundedReport(report) };
}

/** The facts of a volume's LUKS device and where it is; undefined for one that has none, or none that reads. */
export async function inspectHeader(
  context: InspectContext,
): Promise<{ readonly device: string; readonly facts: LuksFacts } | undefined> {
  const places = await volumePlaces(context.host, context.volume);
  const { facts } = await inspectLuks(context, places);
  return facts === undefined || places.encrypted === undefined ? undefined : { device: places.encrypted, facts };
}

/** How the disk below a volume is told from others. */
export async function readDiskFingerprint(context: InspectContext): Promise<VolumeReport["disk"]> {
  const places = await volumePlaces(context.host, context.volume);
  const base = await inspectBase(context, places);
  const { pvUuids } = await inspectLvm(context, places, base.devices);
  return { serial: base.serial, bytes: base.bytes, pvUuids: [...pvUuids] };
}

function withoutDoubles(problems: readonly VolumeProblem[]): VolumeProblem[] {
  return [...new Map(problems.map((problem) => [`${problem.code} ${problem.text}`, problem])).values()];
}

/** Up when what a start brings up is up; that a volume group is active alone says nothing. */
function overallState(volume: VolumeSpec, layers: readonly LayerStatus[]): VolumeReport["state"] {
  const isUp = ({ layer, state, details }: LayerStatus) => {
    if (layer === "luks") return details["open"] === true;
    return layer === "mount" ? details["mounted"] === true : state === "up";
  };
  const named = layers.filter(({ layer }) => layer === "luks" || layer === "mount");
  const deciding =
    named.length > 0
      ? named
      : layers.filter(({ layer }) => layer === (volume.lvm ? "lv" : volume.loop ? "loop" : "disk"));
  const up = deciding.filter((layer) => isUp(layer)).length;
  if (up === deciding.length && up > 0) return "up";
  if (up > 0) return "partial";
  const stack = layers.filter(({ layer }) => layer !== "dependents" && layer !== "disk");
  return stack.some(({ state }) => state === "not-provisioned") ? "not-provisioned" : "down";
}
