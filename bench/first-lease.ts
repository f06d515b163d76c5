import { execFileSync } from "node:child_process";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { followEvents } from "./control.ts";
import { type BenchFleet, cpuSeconds } from "./fleet.ts";
import { percentiles } from "./percentiles.ts";

const ID = "first-lease";
const ROUNDS = 7;

/** The medians of some starts. */
export interface FirstLease {
  /** From the start of the minion's process to the moment of its first lease in the master's record. */
  readonly ms: number;
  /** CPU that the minion's process had used when the news of that lease was here, to 10 ms. */
  readonly cpuMs: number;
}

/**
 * Milliseconds from the start of a minion's process to its first lease, as the master's record has it: a startup run that
 * opens an existing LUKS volume on a loop device. The kernel here may lack device-mapper, so the opening itself may fail
 * afterwards; the lease does not depend on it. undefined where there are no loop devices.
 */
export async function measureFirstLease(fleet: BenchFleet): Promise<FirstLease | undefined> {
  const image = join(fleet.directory, "first-lease.img");
  writeFileSync(image, "");
  truncateSync(image, 64 * 1024 * 1024);
  let device: string;
  try {
    device = execFileSync("losetup", ["--find", "--show", image], { encoding: "utf8", stdio: "pipe" }).trim();
  } catch {
    return undefined;
  }
  try {
    fleet.write("states/top.sls", `base:\n  ${ID}: [volume]\n`);
    fleet.write(
      "states/volume.sls",
      `format:\n  luks.formatted:\n    - name: ${device}\n    - key: '{{pillar.password}}'\nopen:\n  luks.opened:\n    - name: bench-${process.pid}\n    - device: ${device}\n    - key: '{{pillar.password}}'\n    - require: [{luks: format}]\n`,
    );
    const samples: { readonly ms: number; readonly cpuMs: number }[] = [];
    const events = await followEvents(fleet.socket);
    for (let round = 0; round <= ROUNDS; round += 1) {
      const leased = events.next(`lease/allow/${ID}`, "open", 30_000);
      const begun = Date.now();
      // a run directory of its own is what a new boot has
      const minion = fleet.startMinion(ID, {
        startup_states: "highstate",
        run_dir: join(fleet.directory, `run-${round}`),
      });
      const { at } = await leased;
      const cpuMs = cpuSeconds(minion.pid ?? 0) * 1000;
      minion.kill("SIGKILL");
      // the first round formats the volume and pins the master
      if (round > 0) samples.push({ ms: at - begun, cpuMs });
    }
    events.close();
    const median = (of: (sample: FirstLease) => number) => percentiles(samples.map(of)).median;
    return { ms: median(({ ms }) => ms), cpuMs: median(({ cpuMs }) => cpuMs) };
  } finally {
    execFileSync("losetup", ["--detach", device]);
  }
}
