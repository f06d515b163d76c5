import type { Change } from "../state.ts";
import type { BlockDevice } from "./block-device.ts";
import type { DeviceIdentity } from "./device-identity.ts";

type Seen = ReadonlyMap<string, DeviceIdentity>;

const NOTHING: Seen = new Map();
const volumeSeenWith = new WeakMap<readonly Change[], string>();
const seenWith = new WeakMap<readonly Change[], Seen>();

/** The changes, and with them the devices that they were found on, by the paths that they were asked by: not printed, not returned. */
export function seenOn(changes: readonly Change[], ...devices: readonly BlockDevice[]): readonly Change[] {
  seenWith.set(changes, new Map(devices.map((device) => [device.path, device.identified])));
  return changes;
}

/** What `check` found these changes on; empty for changes that came from elsewhere. */
export function seenDevices(changes: readonly Change[]): Seen {
  return seenWith.get(changes) ?? NOTHING;
}

/** As `seenOn`, for a volume that goes by its name: a logical one, which may have no device yet, or a mapping; by its UUID. */
export function seenOnVolume(changes: readonly Change[], uuid: string): readonly Change[] {
  volumeSeenWith.set(changes, uuid);
  return changes;
}

/** UUID of the volume that `check` found these changes on; undefined for changes that came from elsewhere. */
export function seenVolume(changes: readonly Change[]): string | undefined {
  return volumeSeenWith.get(changes);
}
