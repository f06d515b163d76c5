import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realHost } from "../test/kernel/support/machine.ts";
import { Fleet } from "../test/kernel/support/matrix/fleet.ts";
import { buildProcesses } from "../test/kernel/support/matrix/processes.ts";
import { encryptedDeviceOf, keyPathOf, kwargsOf, pillarOf } from "../test/kernel/support/matrix/scenario.ts";
import { addSlowSlot } from "../test/kernel/support/slow-slot.ts";
import { percentiles } from "./percentiles.ts";
import type { VolumeFigures } from "./volume.ts";

/**
 * Runs inside a guest kernel, against a master and a minion of their own: times rotations, and starts of stopped volumes with
 * more and more slow keyslots, and prints one JSON line. Volumes: loop > PV > VG > LV > LUKS2 > ext4 > mount.
 */
const ROUNDS = 5;
const SIZE_MIB = 64;
/** Four keyslots fit into 1 MiB. */
const SMALL = "small";
const LARGE = "large";

const directory = mkdtempSync(join(tmpdir(), "latchkey-bench-"));
const processes = join(directory, "processes");
mkdirSync(processes);
await buildProcesses(processes);
const host = realHost();
const fleet = new Fleet({
  processes,
  masterDirectory: join(directory, "master"),
  minionDirectory: join(directory, "minion"),
  runDirectory: join(directory, "run"),
  returnPort: 14_506,
});

const median = (values: readonly number[]): number => percentiles(values).median;

async function job(fun: string, volume: string): Promise<number> {
  const begun = performance.now();
  const end = await fleet.run(fun, kwargsOf(fun, volume));
  if (end.kind !== "returned" || !end.success) throw new Error(`${fun}: ${JSON.stringify(end)}`);
  return performance.now() - begun;
}

/** How long the last `cryptsetup open` took, from the minion's own log. */
function lastOpenMs(): number {
  const lines = [...fleet.logOf("minion").matchAll(/"cryptsetup open … exit 0 in (\d+) ms"/gu)];
  return Number(lines.at(-1)?.[1]);
}

async function starts(volume: string, slots: number): Promise<VolumeFigures["starts"][number]> {
  const startMs: number[] = [];
  const openMs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await job("volume.stop", volume);
    startMs.push(await job("volume.start", volume));
    openMs.push(lastOpenMs());
  }
  return { slots, startMs: median(startMs), openMs: median(openMs) };
}

async function addSlots(volume: string, count: number): Promise<number> {
  const key = [...(await fleet.keysOf(keyPathOf(volume))).values()].at(-1);
  if (key === undefined) throw new Error(`no stored key of ${volume}`);
  let ms = Number.NaN;
  for (let slot = 0; slot < count; slot += 1) ms = await addSlowSlot(host, encryptedDeviceOf(volume), key);
  return ms;
}

fleet.setPillar(
  pillarOf(
    [
      { name: SMALL, sizeMiB: SIZE_MIB },
      { name: LARGE, sizeMiB: SIZE_MIB, keyslotsSize: "4M" },
    ],
    directory,
  ),
);
await fleet.startMaster();
fleet.startMinion();
await fleet.connected();
try {
  for (const volume of [SMALL, LARGE]) await job("volume.provision", volume);
  const rotations: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) rotations.push(await job("volume.rotate", SMALL));
  const none = await starts(SMALL, 0);
  const humanOpenMs = await addSlots(SMALL, 1);
  const one = await starts(SMALL, 1);
  await addSlots(SMALL, 1);
  const two = await starts(SMALL, 2);
  await addSlots(LARGE, 8);
  const eight = await starts(LARGE, 8);
  const figures: VolumeFigures = { rotateMs: median(rotations), starts: [none, one, two, eight], humanOpenMs };
  console.log(JSON.stringify(figures));
} catch (error) {
  writeFileSync("/run/exchange/minion.log", fleet.logOf("minion"));
  throw error;
} finally {
  await fleet.stop();
}
