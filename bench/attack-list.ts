import type { AttackPlan, FloodMethod } from "./attack-plan.ts";
import type { BenchFleet } from "./fleet.ts";
import { benchId, SimulatedMinion } from "./simulated-minion.ts";

const RECORDED_HOSTS = 20;
/** Two megabits a second, and as fast as one process can. */
const SLOW_BYTES_PER_SECOND = 250_000;

type Kind<T> = T extends AttackPlan ? Omit<T, "port" | "publishPort"> : never;
/** One attack: its name in the table, what it is, what the attacker is told. */
export interface Attack {
  readonly name: string;
  readonly what: string;
  readonly plan: Kind<AttackPlan>;
}

/** Every attack, in the order in which they come. */
export function attacks(recorded: readonly string[]): readonly Attack[] {
  const byHost = (method: FloodMethod, name: string, what: string): Attack => ({
    name,
    what: `one accepted host, four sessions: ${what}`,
    plan: { kind: "host", method },
  });
  return [
    {
      name: "openingsSlow",
      what: "openings at 2 Mbit/s, half of them recorded ones, from 16 addresses",
      plan: { kind: "openings", recorded, bytesPerSecond: SLOW_BYTES_PER_SECOND },
    },
    { name: "openingsFast", what: "the same as fast as it can", plan: { kind: "openings", recorded } },
    {
      name: "idle",
      what: "4000 connections that say nothing, half a greeting, a byte a second",
      plan: { kind: "idle", connections: 4000 },
    },
    { name: "garbage", what: "random bytes, random frames", plan: { kind: "garbage" } },
    { name: "multipart", what: "messages that never end", plan: { kind: "multipart" } },
    { name: "subscriptions", what: "on the port where jobs were once published", plan: { kind: "subscriptions" } },
    byHost("return", "returns", "returns of 1 MB"),
    byHost("hello", "hellos", "hello with 500 grains"),
    byHost("volume.report", "reports", "reports of 50 volumes with 20 problems each"),
    byHost("heartbeat", "heartbeats", "heartbeats"),
  ];
}

/** Openings of accepted hosts as who listens on the wire has them, in base64. */
export async function record(fleet: BenchFleet): Promise<readonly string[]> {
  const openings: string[] = [];
  for (let index = 0; index < RECORDED_HOSTS; index += 1) {
    const minion = new SimulatedMinion(benchId(index), fleet);
    await minion.connect();
    await minion.close();
    openings.push(minion.opening().toString("base64"));
  }
  return openings;
}
