import { randomBytes } from "node:crypto";
import { copyFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { BackupReport } from "../../../src/core/backup-api.ts";
import type { JobEvent, MasterStatus } from "../../../src/core/control-api.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { type KeptEpoch, startMinion, type TestMinion, until } from "../wire/pair.ts";
import { portsOf, type Rig, rig, scratch, tinyPillar } from "./rig.ts";

const pillar = { openPillar: async () => tinyPillar(randomBytes(32)) };
let directory: string;
let remove: () => void;
let masters: Rig[];
let minions: TestMinion[];

beforeEach(() => {
  ({ directory, remove } = scratch());
  masters = [];
  minions = [];
});
afterEach(async () => {
  await Promise.all(minions.map(async ({ connection }) => connection.close()));
  await Promise.all(masters.map(async (one) => one.stop()));
  remove();
});

async function up(port = 0): Promise<Rig> {
  const one = await rig(directory, pillar, { auto_accept: true, ret_port: port });
  masters.push(one);
  return one;
}

async function connect(one: Rig, id: string, setup: Parameters<typeof startMinion>[1] = {}): Promise<TestMinion> {
  const minion = startMinion(portsOf(one), { id, fingerprints: [one.master.fingerprint], ...setup });
  minions.push(minion);
  await minion.connection.ready(AbortSignal.timeout(60_000));
  return minion;
}

/** Starts a job for all and waits until each of these minions has it. */
async function run(one: Rig, ...all: readonly TestMinion[]): Promise<void> {
  const had = all.map(({ jobs }) => jobs.length);
  const body = { target: { kind: "glob", expr: "*" }, fun: "test.ping", args: [], kwargs: {}, timeoutMs: 60_000 };
  for await (const event of one.client.stream<JobEvent>("POST", "/v1/jobs", body)) if (event.event === "start") break;
  await until("the job", () => all.every(({ jobs }, at) => jobs.length === (had[at] ?? 0) + 1));
}

/** The store as of the backup, under a master that starts again. */
async function restore(file: string, port: number): Promise<Rig> {
  await masters.pop()?.stop();
  const state = join(directory, "state");
  for (const name of readdirSync(state)) if (name.startsWith("store.db")) rmSync(join(state, name));
  copyFileSync(file, join(state, "store.db"));
  return up(port);
}

test("I7: one host's claim of a high number stops no job for anybody else, and the host is named", async () => {
  const one = await up();
  const honest = await connect(one, "web1");
  await run(one, honest);
  const [first = 0] = honest.jobs.map(({ seq }) => seq);
  const liar = await connect(one, "liar", { claims: first + 2 ** 31 });
  await run(one, honest, liar);
  const late = await connect(one, "web2");
  await run(one, honest, late);
  expect((await one.client.request<MasterStatus>("GET", "/v1/status")).drops).toMatchObject({
    "unproven-job-number": 1,
  });
  expect(honest.jobs.map(({ seq }) => seq)).toEqual([first, first + 1, first + 2]);
});

test("I7: after its store was taken back, once and twice, a master's jobs reach the hosts that had its later ones", async () => {
  let one = await up();
  const { return: port } = one.master.ports;
  const file = join(directory, "backup.db");
  await one.client.request<BackupReport>("POST", "/v1/backup", { path: file, force: false });
  // the key of a host that enrolled after the backup is taken in anew
  const identity = generateIdentity();
  const [epochs, positions]: [KeptEpoch[], Map<string, number>] = [[], new Map()];
  const minion = await connect(one, "web1", { identity, epochs, positions });
  const seqs = () => minion.jobs.map(({ seq }) => seq);
  for (let life = 0; life < 3; life += 1) {
    for (let n = 0; n <= life; n += 1) await run(one, minion);
    one = await restore(file, port);
    await until("the host is back", () => minion.connection.state.kind === "connected");
    await minion.connection.ready(AbortSignal.timeout(60_000));
    const fresh = await connect(one, `new${life}`);
    await run(one, minion, fresh);
  }
  expect(seqs()).toEqual(seqs().toSorted((a, b) => a - b));
  expect(new Set(seqs()).size).toBe(9);
});
