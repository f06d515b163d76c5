import { setTimeout as delay } from "node:timers/promises";
import { loadSodium } from "../src/core/crypto/sodium.ts";
import { Arena, MOST_TIMES_QUIET, type Outcome } from "./attack-arena.ts";
import { attacks, record } from "./attack-list.ts";
import { splitCores } from "./cores.ts";
import { BenchFleet, buildBundle } from "./fleet.ts";
import { HonestLoad } from "./honest-load.ts";
import { type BenchResult, type BenchRow, digits } from "./table.ts";

const WARM_MS = 3000;
/** Of the master's memory; and until leases are as quick as before. */
const MOST_MIB = 512;
const MOST_RECOVERY_MS = 1000;

function rowsOf(outcome: Outcome, quietP99Ms: number): readonly BenchRow[] {
  const { attack, leasesPerSecond, p50Ms, p99Ms, reconnectP99Ms, peakMiB, descriptors, recoveryMs } = outcome;
  const row = (key: string, value: number, unit: string, limit?: number, note?: string): BenchRow => ({
    key: `${attack.name}${key}`,
    value,
    unit,
    ...(limit === undefined ? {} : { budget: { limit, good: "below" } }),
    ...(note === undefined ? {} : { note }),
  });
  return [
    row("LeasesPerSecond", leasesPerSecond, "/s", undefined, attack.what),
    row("P50Ms", p50Ms, "ms"),
    row("P99Ms", p99Ms, "ms"),
    row("P99Ratio", p99Ms / quietP99Ms, "", MOST_TIMES_QUIET, "of the quiet one"),
    row("ReconnectP99Ms", reconnectP99Ms, "ms", undefined, "connection, handshake and lease of a host with a ticket"),
    row("MasterPeakMiB", peakMiB, "MiB", MOST_MIB),
    row("Descriptors", descriptors, ""),
    row("MasterCpu", outcome.masterCpu, "cores"),
    row("Failed", outcome.failed, ""),
    row("RecoveryMs", recoveryMs, "ms", MOST_RECOVERY_MS),
  ];
}

function remarkOf({ attack, done, attackerCpu, drops, alarms }: Outcome): string {
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .map(([key, value]) => `${key} ${value}`)
      .join(", ") || "nothing";
  const [first] = alarms;
  const said = first === undefined ? "" : `, such as ${first.slice(0, 240)}`;
  return `${attack.name}: attacker (${digits(attackerCpu)} cores): ${list(done)}; master dropped: ${list(drops)}; ${alarms.length} alarm lines${said}`;
}

function verdict(what: string, limit: number, unit: string, of: (outcome: Outcome) => number, all: readonly Outcome[]) {
  const worst = all.reduce((a, b) => (of(b) > of(a) ? b : a));
  const word = all.every((outcome) => of(outcome) < limit) ? "PASS" : "MISS";
  return `${word} ${what} below ${limit} ${unit}: at most ${digits(of(worst))} (${worst.attack.name})`;
}

/** Honest hosts that lease their keys while somebody attacks their master, one attack after the other. */
export async function run(): Promise<BenchResult> {
  buildBundle();
  await loadSodium();
  const fleet = new BenchFleet();
  try {
    fleet.prepare();
    fleet.write("pillar/top.sls", "base:\n  '*': [disk]\n");
    fleet.write("pillar/disk.sls", "password: !generate\n");
    const { child } = await fleet.startMaster();
    const masterPid = child.pid ?? 0;
    const recorded = await record(fleet);
    // attackers are children of this process, and share its core
    const split = splitCores(masterPid);
    const load = new HonestLoad(fleet);
    await load.start();
    await delay(WARM_MS);
    const arena = new Arena(fleet, load, masterPid);
    const quiet = await arena.quiet();
    const quietP99Ms = quiet.p99Ms;
    const outcomes: Outcome[] = [];
    for (const attack of attacks(recorded)) outcomes.push(await arena.suffer(attack, quietP99Ms));
    const after = await arena.quiet();
    await load.stop();
    return {
      rows: [
        { key: "quietLeasesPerSecond", value: quiet.leasesPerSecond, unit: "/s", note: `asked for, ${split.how}` },
        { key: "quietP50Ms", value: quiet.p50Ms, unit: "ms" },
        { key: "quietP99Ms", value: quiet.p99Ms, unit: "ms", note: `after all attacks ${digits(after.p99Ms)}` },
        { key: "quietReconnectP99Ms", value: quiet.reconnectP99Ms, unit: "ms" },
        { key: "quietMasterPeakMiB", value: quiet.peakMiB, unit: "MiB", note: `after ${digits(after.peakMiB)}` },
        { key: "quietMasterCpu", value: quiet.masterCpu, unit: "cores" },
        ...outcomes.flatMap((outcome) => rowsOf(outcome, quietP99Ms)),
      ],
      remarks: [
        ...outcomes.map(remarkOf),
        verdict("p99 of honest leases", MOST_TIMES_QUIET, "x quiet", ({ p99Ms }) => p99Ms / quietP99Ms, outcomes),
        verdict("memory of the master", MOST_MIB, "MiB", ({ peakMiB }) => peakMiB, outcomes),
        verdict("recovery", MOST_RECOVERY_MS, "ms", ({ recoveryMs }) => recoveryMs, outcomes),
      ],
    };
  } finally {
    await fleet.stop();
  }
}
