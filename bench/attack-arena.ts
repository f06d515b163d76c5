import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Attack } from "./attack-list.ts";
import type { AttackPlan } from "./attack-plan.ts";
import { droppedFrames } from "./control.ts";
import { type BenchFleet, cpuSeconds, memoryMiB, until } from "./fleet.ts";
import type { HonestLoad, Served } from "./honest-load.ts";

const QUIET_MS = 10_000;
/** An attack goes on for so long before it is looked at, then for so long while it is. */
const BUILD_UP_MS = 1000;
const ATTACK_MS = 6000;
const CALM_MS = 1500;
const SAMPLE_MS = 500;
const GIVE_UP_MS = 20_000;
/** How many times as long as a quiet p99 an honest lease may take. */
export const MOST_TIMES_QUIET = 5;

/** What one attack did, and what it did to the master. */
export interface Outcome extends Served {
  readonly attack: Attack;
  readonly done: Readonly<Record<string, number>>;
  readonly attackerCpu: number;
  readonly masterCpu: number;
  readonly peakMiB: number;
  readonly descriptors: number;
  readonly recoveryMs: number;
  readonly drops: Readonly<Record<string, number>>;
  readonly alarms: readonly string[];
}

/** An attacker in a process of its own, which gives way to the honest load beside it. */
function startAttacker(plan: AttackPlan) {
  const child = spawn(
    "nice",
    ["-n", "10", process.execPath, join(import.meta.dirname, "attacker.ts"), JSON.stringify(plan)],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-20_000);
  });
  return {
    pid: child.pid ?? 0,
    done: () => JSON.parse(said.slice(0, said.lastIndexOf("\n")).split("\n").at(-1) || "{}") as Record<string, number>,
    end: () => child.kill("SIGKILL"),
  };
}

/** Follows a master's memory and descriptors until it is stopped. */
function watch(pid: number) {
  let peakMiB = 0;
  let descriptors = 0;
  const look = () => {
    peakMiB = Math.max(peakMiB, memoryMiB(pid).pss);
    descriptors = Math.max(descriptors, readdirSync(`/proc/${pid}/fd`).length);
  };
  const timer = setInterval(look, SAMPLE_MS);
  return () => {
    clearInterval(timer);
    look();
    return { peakMiB, descriptors };
  };
}

const increases = (before: Readonly<Record<string, number>>, after: Readonly<Record<string, number>>) =>
  Object.fromEntries(
    Object.entries(after).flatMap(([key, value]) =>
      value > (before[key] ?? 0) ? [[key, value - (before[key] ?? 0)]] : [],
    ),
  );

/** A master under honest load, to be attacked. */
export class Arena {
  readonly #fleet: BenchFleet;
  readonly #load: HonestLoad;
  readonly #master: number;

  constructor(fleet: BenchFleet, load: HonestLoad, master: number) {
    this.#fleet = fleet;
    this.#load = load;
    this.#master = master;
  }

  /** How it goes when nobody attacks. */
  async quiet(): Promise<Served & { readonly peakMiB: number; readonly masterCpu: number }> {
    const stop = watch(this.#master);
    const from = performance.now();
    const cpu = cpuSeconds(this.#master);
    await delay(QUIET_MS);
    const to = performance.now();
    return {
      ...this.#load.between(from, to),
      peakMiB: stop().peakMiB,
      masterCpu: ((cpuSeconds(this.#master) - cpu) * 1000) / (to - from),
    };
  }

  /** One attack from its beginning until the master has recovered from it. */
  async suffer(attack: Attack, quietP99Ms: number): Promise<Outcome> {
    const { returnPort, socket } = this.#fleet;
    const dropsBefore = await droppedFrames(socket);
    const logBefore = this.#fleet.log("master").length;
    const attacker = startAttacker({ ...attack.plan, port: returnPort, publishPort: 4505 });
    const stop = watch(this.#master);
    let at = { from: 0, to: 0, cpu: 0, attackerCpu: 0 };
    try {
      await until("the attacker", 30_000, () => Object.keys(attacker.done()).length > 0);
      await delay(BUILD_UP_MS);
      const from = performance.now();
      const [cpu, attackerCpu] = [cpuSeconds(this.#master), cpuSeconds(attacker.pid)];
      await delay(ATTACK_MS);
      at = {
        from,
        to: performance.now(),
        cpu: cpuSeconds(this.#master) - cpu,
        attackerCpu: cpuSeconds(attacker.pid) - attackerCpu,
      };
    } catch (error) {
      stop();
      throw error;
    } finally {
      attacker.end();
    }
    const recovered = () => this.#load.recoveredAfter(at.to, MOST_TIMES_QUIET * quietP99Ms);
    await until("the master to recover", GIVE_UP_MS, () => recovered() !== undefined, 20).catch(() => {});
    await delay(CALM_MS);
    const seconds = (at.to - at.from) / 1000;
    const alarms = this.#fleet.log("master").slice(logBefore).split("\n");
    return {
      ...this.#load.between(at.from, at.to),
      ...stop(),
      attack,
      done: attacker.done(),
      masterCpu: at.cpu / seconds,
      attackerCpu: at.attackerCpu / seconds,
      recoveryMs: recovered() ?? GIVE_UP_MS,
      drops: increases(dropsBefore, await droppedFrames(socket)),
      alarms: alarms.filter((line) => /"limit"|left out|"problem"/u.test(line)),
    };
  }
}
