/**
 * Runs in a guest kernel whose power goes: one boot of the power-cut matrix. Reads plan.json in its exchange directory, proves
 * the volume as the cut before left it, and goes on to the step at which the power is to go. The minion's state and
 * the volume's file lie on /dev/ubda; the master's directory is on the exchange directory, as if on another machine.
 */
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "../../../../lab/wait-until.ts";
import { realHost } from "../machine.ts";
import { errorMessage } from "../../../../src/core/errors.ts";
import { Fleet } from "./fleet.ts";
import { proveStoredKeyOpens } from "./proof.ts";
import { JOB_OF, kwargsOf, pillarOf, sumOf, writeDurably } from "./scenario.ts";

/** What one boot does, in this order. */
export interface GuestPlan {
  /** Size that pillar gives the volume, until the cut has its own. */
  readonly sizeMiB: number;
  /**
   * How the volume has to open: not yet, with a key of the master's in store (it has no file system yet), or by being
   * started with a leased key; then its files are compared.
   */
  readonly opens: "not yet" | "by a stored key" | "by a start";
  /** What the files on the volume must hold: SHA-256 by name. */
  readonly sums: Readonly<Record<string, string>>;
  /** A job that must succeed now: the one that was cut. */
  readonly finish: string | null;
  /** A file to write on the volume when that is done. */
  readonly witness: string | null;
  /** The job to be cut, and the step at which the power goes; null for a last boot that only proves. */
  readonly cut: { readonly fun: string; readonly step: string; readonly sizeMiB: number } | null;
}

/** What one boot tells. */
export interface GuestReport {
  readonly problems: readonly string[];
  /** SHA-256 of the witness that was written. */
  readonly sum: string | null;
}

const VOLUME = "cut";
const EXCHANGE = "/run/exchange";
const DISK = "/run/disk";
const MOUNT = `${DISK}/mnt-${VOLUME}`;
const STEP_MS = 60_000;

const host = realHost();

async function mountDisk(): Promise<void> {
  mkdirSync(DISK, { recursive: true });
  const { exitCode } = await host.run(["mount", "-t", "ext4", "/dev/ubda", DISK], { okCodes: [0, 32] });
  if (exitCode === 0) return;
  await host.run(["mkfs.ext4", "-q", "/dev/ubda"]);
  await host.run(["mount", "-t", "ext4", "/dev/ubda", DISK]);
}

async function startFleet(plan: GuestPlan): Promise<Fleet> {
  const fleet = new Fleet({
    processes: `${EXCHANGE}/processes`,
    masterDirectory: `${EXCHANGE}/master`,
    minionDirectory: `${DISK}/minion`,
    runDirectory: "/run/fleet",
    compiledDirectory: `${EXCHANGE}/compiled`,
    returnPort: 14_506,
  });
  fleet.setPillar(pillarOf([{ name: VOLUME, sizeMiB: plan.sizeMiB }], DISK));
  const serving = fleet.startMaster();
  fleet.startMinion();
  await serving;
  await fleet.connected();
  return fleet;
}

/** What lies below LUKS, as an operator brings it up by hand. */
async function bringUpLayers(): Promise<void> {
  await host.run(["losetup", "--find", join(DISK, `${VOLUME}.img`)]);
  await host.run(["vgchange", "--activate", "y", `vgx${VOLUME}`]);
}

/** What is wrong with the volume and its files, in words. */
async function prove(plan: GuestPlan, fleet: Fleet): Promise<string[]> {
  const problems: string[] = [];
  const must = async (fun: string) => {
    const end = await fleet.run(fun, kwargsOf(fun, VOLUME));
    if (end.kind !== "returned" || !end.success) problems.push(`${fun}: ${JSON.stringify(end).slice(0, 3000)}`);
  };
  if (plan.opens === "by a stored key") {
    await bringUpLayers();
    await proveStoredKeyOpens(host, fleet, VOLUME).catch((error: unknown) => problems.push(errorMessage(error)));
  }
  if (plan.opens === "by a start") {
    await must("volume.start");
    for (const [name, expected] of Object.entries(plan.sums)) {
      const path = join(MOUNT, name);
      if (!existsSync(path) || sumOf(path) !== expected) problems.push(`${name} is gone or changed`);
    }
  }
  if (plan.finish !== null) await must(plan.finish);
  if (plan.finish === "volume.unprovision" && existsSync(join(DISK, `${VOLUME}.img`))) {
    problems.push("the file of the volume is still there");
  }
  return problems;
}

async function main(): Promise<void> {
  const plan = JSON.parse(readFileSync(`${EXCHANGE}/plan.json`, "utf8")) as GuestPlan;
  await mountDisk();
  const fleet = await startFleet(plan);
  const problems = await prove(plan, fleet);
  if (problems.length > 0) problems.push(fleet.logOf("minion").slice(-6000), fleet.logOf("master").slice(-2000));
  const sum = plan.witness === null || problems.length > 0 ? null : writeDurably(join(MOUNT, plan.witness));
  const report: GuestReport = { problems, sum };
  writeFileSync(`${EXCHANGE}/report.json`, JSON.stringify(report), { flush: true });
  const { cut } = plan;
  if (cut === null || problems.length > 0) {
    await fleet.stop();
    return;
  }
  fleet.setPillar(pillarOf([{ name: VOLUME, sizeMiB: cut.sizeMiB }], DISK));
  fleet.doom(cut.step, "host");
  // what was cut before may end without coming to the step again: then it is run once more
  for (let pushes = 0; pushes < 2 && !fleet.struck; pushes += 1) {
    // a format that went on past this step left nothing to make, and nothing is in it yet: it begins anew
    if (pushes > 0 && cut.fun === JOB_OF.provision && cut.step.startsWith("provision:")) {
      await fleet.run(JOB_OF.unprovision, kwargsOf(JOB_OF.unprovision, VOLUME));
    }
    let hasEnded = false;
    void fleet.run(cut.fun, kwargsOf(cut.fun, VOLUME)).then(() => (hasEnded = true));
    await waitUntil(`the step ${cut.step}`, () => fleet.struck || hasEnded, STEP_MS, 5);
  }
  if (!fleet.struck) throw new Error(`${cut.step} was not reached\n${fleet.logOf("minion").slice(-6000)}`);
  // whoever reads the console pulls the plug now
  writeSync(openSync("/dev/console", "w"), `power-cut-now ${cut.step}\n`);
  await new Promise(() => setInterval(() => {}, 60_000));
}

void main();
