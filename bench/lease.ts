import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { loadSodium } from "../src/core/crypto/sodium.ts";
import { measureAudit } from "./audit.ts";
import { connectedCount } from "./control.ts";
import { BenchFleet, buildBundle, cpuSeconds, memoryMiB, until } from "./fleet.ts";
import { type FirstLease, measureFirstLease } from "./first-lease.ts";
import { splitCores } from "./cores.ts";
import { benchId, type MasterPorts, SimulatedMinion } from "./simulated-minion.ts";
import { percentiles } from "./percentiles.ts";
import type { BenchResult, BenchRow } from "./table.ts";

const SESSIONS = 50;
const SECONDS = 4;
const WARM_LEASES = 500;
const IDLE_MS = 20_000;

/** A release policy that looks at host, network, number of leases and liveness before it says yes. */
const RELEASE = `rules:
  - name: disks at home
    match: { hosts: ['sim-*', 'first-lease'], secrets: password, networks: [127.0.0.0/8], validator: 'instance.name != "" && request.leasesInDay < 100000000' }
    require: { liveness: 10m }
`;

interface Throughput {
  readonly perSecond: number;
  /** How many the master would serve with one core all to itself. */
  readonly perMasterCpuSecond: number;
}

async function warmLease(ports: MasterPorts): Promise<{ median: number; p99: number }> {
  const minion = new SimulatedMinion(benchId(0), ports);
  await minion.connect();
  await minion.lease("password", "format");
  const samples: number[] = [];
  for (let round = 0; round < WARM_LEASES + 50; round += 1) {
    const begun = performance.now();
    await minion.lease("password");
    if (round >= 50) samples.push(performance.now() - begun);
  }
  await minion.close();
  return percentiles(samples);
}

/** Runs `work` from `count` minions at once for some seconds; `work` is one lease, with whatever it needs. */
async function throughput(
  masterPid: number,
  minions: readonly SimulatedMinion[],
  work: (minion: SimulatedMinion) => Promise<void>,
): Promise<Throughput> {
  let served = 0;
  const cpuBefore = cpuSeconds(masterPid);
  const begun = performance.now();
  const end = begun + SECONDS * 1000;
  await Promise.all(
    minions.map(async (minion) => {
      while (performance.now() < end) {
        await work(minion);
        served += 1;
      }
    }),
  );
  const seconds = (performance.now() - begun) / 1000;
  return { perSecond: served / seconds, perMasterCpuSecond: served / (cpuSeconds(masterPid) - cpuBefore) };
}

async function liveSessions(masterPid: number, ports: MasterPorts): Promise<Throughput> {
  const minions = Array.from({ length: SESSIONS }, (_, index) => new SimulatedMinion(benchId(index), ports));
  await Promise.all(minions.map(async (minion) => await minion.connect()));
  await Promise.all(minions.map(async (minion) => await minion.lease("password", "format")));
  const result = await throughput(masterPid, minions, async (minion) => await minion.lease("password"));
  await Promise.all(minions.map(async (minion) => await minion.close()));
  return result;
}

async function newSessions(masterPid: number, ports: MasterPorts): Promise<Throughput> {
  const minions = Array.from({ length: SESSIONS }, (_, index) => new SimulatedMinion(benchId(index), ports));
  const once = async (minion: SimulatedMinion, purpose: "format" | "open") => {
    await minion.connect();
    await minion.lease("password", purpose);
    await minion.close();
  };
  await Promise.all(minions.map(async (minion) => await once(minion, "format")));
  return await throughput(masterPid, minions, async (minion) => await once(minion, "open"));
}

function firstLeaseRows({ ms, cpuMs }: FirstLease): readonly BenchRow[] {
  return [
    {
      key: "minionStartToFirstLeaseMs",
      value: ms,
      unit: "ms",
      budget: { limit: 300, good: "below", aim: 150, scale: "start" },
      note: "process start included; Salt 2330",
    },
    { key: "minionCpuToFirstLeaseMs", value: cpuMs, unit: "ms", note: "CPU of the minion's process until then" },
  ];
}

/** Keys handed out: how fast one, how many a second, and what it costs in memory. */
export async function run(): Promise<BenchResult> {
  buildBundle();
  // the load is made by this process: the less that takes, the more of it there is
  await loadSodium();
  const fleet = new BenchFleet();
  try {
    fleet.prepare();
    fleet.write("pillar/top.sls", "base:\n  '*': [disk]\n");
    fleet.write("pillar/disk.sls", "password: !generate\n");
    const release = join(fleet.directory, "release.yaml");
    const { child, ms: masterStartMs } = await fleet.startMaster({ release_policy: release });
    const masterPid = child.pid ?? 0;
    const split = splitCores(masterPid);
    // compiled by then: what comes first is not measured against what comes when the master is warm
    await liveSessions(masterPid, fleet);
    await newSessions(masterPid, fleet);
    const plain = await liveSessions(masterPid, fleet);
    const plainFresh = await newSessions(masterPid, fleet);
    fleet.write("release.yaml", RELEASE);
    const warm = await warmLease(fleet);
    const live = await liveSessions(masterPid, fleet);
    const fresh = await newSessions(masterPid, fleet);
    const loaded = memoryMiB(masterPid);
    split.undo();
    const auditPerSecond = await measureAudit();
    const first = await measureFirstLease(fleet);

    const idle = fleet.startMinion("idle");
    await until("an idle minion", 20_000, async () => (await connectedCount(fleet.socket)) >= 1);
    // V8 gives memory back when it has been idle for a while
    await delay(IDLE_MS);
    const minion = memoryMiB(idle.pid ?? 0);
    const master = memoryMiB(masterPid);
    return {
      rows: [
        {
          key: "warmLeaseMedianMs",
          value: warm.median,
          unit: "ms",
          budget: { limit: 5, good: "below", aim: 1, scale: "crypto" },
          note: "request to key in hand, audit record synced; clevis + tang 95, Mandos 104",
        },
        { key: "warmLeaseP99Ms", value: warm.p99, unit: "ms" },
        {
          key: "leasesPerSecond",
          value: live.perSecond,
          unit: "/s",
          budget: { limit: 2000, good: "above", aim: 5000, scale: "crypto" },
          note: `${SESSIONS} live sessions, policy and audit on, ${split.how}; tang kept alive 1322`,
        },
        {
          key: "leasesPerMasterCpuSecond",
          value: live.perMasterCpuSecond,
          unit: "/s",
          budget: { limit: 2000, good: "above", aim: 5000, scale: "crypto" },
          note: "served for each second of the master's CPU",
        },
        {
          key: "handshakeLeasesPerSecond",
          value: fresh.perSecond,
          unit: "/s",
          budget: { limit: 1000, good: "above", aim: 2000, scale: "crypto" },
          note: "a new connection and handshake each; tang 726",
        },
        {
          key: "handshakeLeasesPerMasterCpuSecond",
          value: fresh.perMasterCpuSecond,
          unit: "/s",
          budget: { limit: 1000, good: "above", aim: 2000, scale: "crypto" },
          note: "served for each second of the master's CPU; making minions' connections takes as much",
        },
        {
          key: "leasesPerSecondWithoutPolicy",
          value: plain.perSecond,
          unit: "/s",
          note: "the same before there was a release.yaml; audit is never off (I4)",
        },
        { key: "leasesPerMasterCpuSecondWithoutPolicy", value: plain.perMasterCpuSecond, unit: "/s" },
        { key: "handshakeLeasesPerSecondWithoutPolicy", value: plainFresh.perSecond, unit: "/s" },
        {
          key: "auditRecordsPerSecond",
          value: auditPerSecond,
          unit: "/s",
          note: "the audit chain alone, fifty writers, each record synced",
        },
        ...(first === undefined ? [] : firstLeaseRows(first)),
        {
          key: "masterStartMs",
          value: masterStartMs,
          unit: "ms",
          note: "until its control socket is there; Salt 4570",
        },
        { key: "minionRssMiB", value: minion.rss, unit: "MiB" },
        {
          key: "minionPssMiB",
          value: minion.pss,
          unit: "MiB",
          budget: { limit: 75, good: "below", aim: 55 },
          note: "idle; Salt 82",
        },
        {
          key: "masterPssMiB",
          value: master.pss,
          unit: "MiB",
          budget: { limit: 120, good: "below", aim: 90 },
          note: "idle for 20 s after the load above; Salt 359",
        },
        { key: "masterPssUnderLoadMiB", value: loaded.pss, unit: "MiB", note: "at the end of the load above" },
      ],
    };
  } finally {
    await fleet.stop();
  }
}
