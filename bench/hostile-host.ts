import { randomBytes } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { VolumeReport } from "../src/core/volume-report.ts";
import type { FloodMethod } from "./attack-plan.ts";
import { benchId, type MasterPorts, SimulatedMinion } from "./simulated-minion.ts";

const SESSIONS = 4;
/** Requests under way on each. */
const IN_FLIGHT = 4;
/** A return of 1 MB, of many items, as a state run has. */
const ROWS = 4000;

const returned = Object.fromEntries(
  Array.from({ length: ROWS }, (_, n) => [`state_${n}`, { result: true, comment: randomBytes(100).toString("hex") }]),
);

function report(n: number): VolumeReport {
  const problems = Array.from({ length: 20 }, (_, m) => ({
    code: `bench-${m}`,
    text: "x".repeat(500),
    fatal: n % 2 > 0,
  }));
  return {
    volume: `volume-${n}`,
    at: Date.now(),
    state: "up",
    keyPath: "password",
    device: "/dev/bench/data",
    luksUuid: "",
    headerDigest: "",
    slots: [],
    proven: { version: 0, at: 0 },
    disk: { serial: "", bytes: 0, pvUuids: [] },
    problems,
  };
}

const grains = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`grain_${n}`, "x".repeat(100)]));

async function request(minion: SimulatedMinion, method: FloodMethod, n: number): Promise<void> {
  const now = Date.now();
  switch (method) {
    case "return":
      await minion.ask("return", {
        jid: String(20_260_000_000_000_000_000n + BigInt(n)),
        fun: "state.apply",
        success: true,
        retcode: 0,
        startedAt: now,
        finishedAt: now,
        startup: true,
        data: returned,
      });
      return;
    case "hello":
      await minion.ask("hello", { version: "0.1.0", bootId: `boot-${n}`, role: "agent", grains, lastSeq: 0 });
      return;
    case "volume.report":
      await minion.ask("volume.report", { reports: Array.from({ length: 50 }, (_, m) => report(n * 50 + m)) });
      return;
    case "heartbeat":
      await minion.heartbeat();
  }
}

/** One accepted host on several sessions that asks as fast as it is answered; never resolves. */
export async function floodAsHost(
  method: FloodMethod,
  ports: MasterPorts,
  count: (what: string) => void,
): Promise<void> {
  const one = new SimulatedMinion(benchId(0), ports);
  const minions = [one, ...Array.from({ length: SESSIONS - 1 }, () => one.another())];
  let n = 0;
  await Promise.all(
    minions.map(async (minion) => {
      await minion.connect();
      const line = async () => {
        for (;;) {
          n += 1;
          count("requests");
          await request(minion, method, n).then(
            () => count("served"),
            () => count("refused"),
          );
          // what fails at once must not keep this process from everything else
          await setImmediate();
        }
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, line));
    }),
  );
}
