import { truncateSync } from "node:fs";
import type { JsonObject } from "../../../src/core/json.ts";
import type { VolumeStep } from "../../../src/core/volume-steps.ts";
import { readBlockDevice } from "../../../src/states/devices/block-device.ts";
import type { GrowthContext } from "../../../src/states/volume/grow-context.ts";
import { volumePlaces } from "../../../src/states/volume/places.ts";
import { readVolumes, type VolumeSpec } from "../../../src/states/volume/spec.ts";
import type { Machine } from "./machine.ts";
import { PowerCut } from "./power-cut.ts";
import type { StateRun } from "./state-run.ts";

const MIB = 1024 * 1024;

/** A declared volume, as the pillar gives it. */
export function declared(name: string, value: JsonObject): VolumeSpec {
  const [volume] = readVolumes({ volumes: { [name]: value } });
  if (volume === undefined) throw new Error("no volume is declared");
  return volume;
}

/** Brings a declared volume up by its single states. */
export async function build(run: StateRun, volume: VolumeSpec): Promise<void> {
  const { name, loop, lvm, luks, fs, mount } = volume;
  if (loop) {
    const size = loop.size === undefined ? {} : { size: loop.size };
    await run.apply("loop.attached", { name: loop.file, sparse: loop.sparse, ...size });
  }
  const places = await volumePlaces(run.context.host, volume);
  if (lvm) {
    await run.apply("lvm.vg_present", { name: lvm.vg, devices: [...places.bases] });
    await run.apply("lvm.lv_present", { name: lvm.lv ?? name, vgname: lvm.vg, size: lvm.size });
  }
  if (luks && places.encrypted !== undefined) {
    await run.apply("luks.formatted", { name: places.encrypted, key: luks.key, volume: name });
    const mapping = luks.name ?? name;
    await run.apply("luks.opened", { name: mapping, device: places.encrypted, key: luks.key });
  }
  const device = places.content ?? "";
  if (fs) await run.apply("fs.formatted", { name: device, fstype: fs.type });
  if (fs && mount) await run.apply("mount.mounted", { name: mount.point, device, fstype: fs.type, mkmnt: true });
}

/** The context of work on a volume; the power goes when `cutAt` is reached. */
export function stackContext(run: StateRun, volume: VolumeSpec, cutAt?: VolumeStep): GrowthContext {
  const context: GrowthContext = {
    ...run.context,
    volume,
    at: () => context,
    reached: (step) => {
      run.context.reached(step);
      if (step === cutAt) throw new PowerCut();
    },
  };
  return context;
}

/** Makes a machine's disk (a loop device) as large as that. */
export async function resizeDisk(machine: Machine, path: string, mib: number): Promise<void> {
  const device = await readBlockDevice(machine.host, path);
  truncateSync(device?.backingFile ?? "", mib * MIB);
  await machine.sh("losetup", "--set-capacity", path);
}
