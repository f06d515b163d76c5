import { connectedCount, timeJob } from "./control.ts";
import { BenchFleet, buildBundle, until } from "./fleet.ts";
import { percentiles } from "./percentiles.ts";
import type { BenchResult } from "./table.ts";
import { measurePillars } from "./pillar.ts";

const HOSTS = 50;

/** Ten states that change nothing when they run again, so that every round does the same work. */
const TEN_STATES = Array.from(
  { length: 10 },
  (_, index) =>
    `s${index}:\n  test.nop:\n    - name: nop-${index}${index > 0 ? `\n    - require: [{test: s${index - 1}}]` : ""}\n`,
).join("");

async function repeat(times: number, measure: () => Promise<number>): Promise<number> {
  const samples: number[] = [];
  for (let round = 0; round < times; round += 1) samples.push(await measure());
  return percentiles(samples).median;
}

/** Jobs to one and to fifty real minion processes, from the API and from the command line. */
export async function run(): Promise<BenchResult> {
  buildBundle();
  const fleet = new BenchFleet();
  try {
    await fleet.startMaster();
    fleet.write("states/ten.sls", TEN_STATES);
    const ping = async (hosts: number) => await timeJob(fleet.socket, "test.ping", [], hosts);
    const cliPing = async () => {
      const { ms, stdout } = await fleet.cli(["run", "bench-0", "test.ping", "--out", "json"]);
      if (!stdout.includes("true")) throw new Error(`ping from the command line failed: ${stdout}`);
      return ms;
    };

    fleet.startMinion("bench-0");
    await until("one minion", 20_000, async () => (await connectedCount(fleet.socket)) === 1);
    await ping(1);
    const pingMs1 = await repeat(20, async () => await ping(1));
    const cliPingMs = await repeat(10, cliPing);

    const dead = fleet.startMinion("bench-dead");
    await until("the second minion", 20_000, async () => (await connectedCount(fleet.socket)) === 2);
    dead.kill("SIGKILL");
    await until("the master to notice", 20_000, async () => (await connectedCount(fleet.socket)) === 1);
    const cliPingMsWithDeadHost = await repeat(5, async () => {
      const { ms, stdout } = await fleet.cli(["run", "bench-*", "test.ping", "--out", "json"]);
      if (!stdout.includes("true")) throw new Error(`ping beside a dead host failed: ${stdout}`);
      return ms;
    });
    await fleet.cli(["keys", "delete", "bench-dead", "--yes"]);

    for (let index = 1; index < HOSTS; index += 1) fleet.startMinion(`bench-${index}`);
    await until("fifty minions", 120_000, async () => (await connectedCount(fleet.socket)) === HOSTS);
    await ping(HOSTS);
    const pingMs50 = await repeat(10, async () => await ping(HOSTS));
    const apply = async () => await timeJob(fleet.socket, "state.apply", ["ten"], HOSTS);
    await apply();
    const apply10Ms50 = await repeat(5, apply);

    return {
      rows: [
        { key: "pingMs1", value: pingMs1, unit: "ms", note: "through the API; Salt 193" },
        {
          key: "pingMs50",
          value: pingMs50,
          unit: "ms",
          budget: { limit: 300, good: "below", aim: 100 },
          note: "50 real processes; Salt 2400",
        },
        { key: "apply10Ms50", value: apply10Ms50, unit: "ms", note: "ten states on each; Salt 8600" },
        {
          key: "cliPingMs",
          value: cliPingMs,
          unit: "ms",
          budget: { limit: 200, good: "below", aim: 90 },
          note: "process start included; Salt 911",
        },
        {
          key: "cliPingMsWithDeadHost",
          value: cliPingMsWithDeadHost,
          unit: "ms",
          budget: { limit: 200, good: "below", aim: 90 },
          note: "one accepted host dead; Salt 16200",
        },
        { key: "pillarsPerSecond", value: await measurePillars(), unit: "/s", note: "one core; Salt 28 on two" },
      ],
    };
  } finally {
    await fleet.stop();
  }
}
