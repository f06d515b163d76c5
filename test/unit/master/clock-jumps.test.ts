import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { signingKeyFromSeed } from "../../../src/core/crypto/ed25519.ts";
import { argumentsDigest, type JobStatement, statementBytes } from "../../../src/core/operator-statement.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import type { JobEvent } from "../../../src/core/control-api.ts";
import { EventBus } from "../../../src/master/events.ts";
import { Hosts } from "../../../src/master/hosts.ts";
import { Jobs } from "../../../src/master/jobs/jobs.ts";
import { Returns } from "../../../src/master/jobs/returns.ts";
import { Askers } from "../../../src/master/release/askers.ts";
import type { Journal } from "../../../src/master/release/journal.ts";
import { Liveness } from "../../../src/master/release/liveness.ts";
import { Operators } from "../../../src/master/release/operators.ts";
import { Nonces } from "../../../src/master/release/nonces.ts";
import { Pushes } from "../../../src/master/release/pushes.ts";
import { MemoryStore } from "../../../src/master/store/memory.ts";
import { FakeSession, HandClock, quiet } from "./fakes.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** The machine's wall clock may be set; what has passed since its start may not. */
class SettableClock extends HandClock {
  elapsed = 0;
  override monotonicMs(): number {
    return this.elapsed;
  }
  pass(ms: number): void {
    this.time += ms;
    this.elapsed += ms;
  }
}

async function openLiveness(clock: SettableClock): Promise<Liveness> {
  return Liveness.load({
    store: new MemoryStore(clock),
    now: () => clock.now(),
    monotonicMs: () => clock.monotonicMs(),
    worthMs: 30_000,
    report: (error) => {
      throw error;
    },
  });
}

test("a master's clock that is set forward ends no session of a host that was heard a moment ago", async () => {
  const clock = new SettableClock();
  const hosts = await Hosts.load(new MemoryStore(clock), clock);
  const session = new FakeSession("web1");
  await hosts.hello(session, { version: "1", bootId: "b", role: "agent", grains: {}, lastSeq: 0 });
  clock.time += HOUR;
  expect(hosts.silentFor(MINUTE)).toEqual([]);
  clock.pass(2 * MINUTE);
  expect(hosts.silentFor(MINUTE)).toEqual([session]);
  hosts.alive(session);
  clock.time -= 3 * HOUR;
  clock.pass(2 * MINUTE);
  expect(hosts.silentFor(MINUTE)).toEqual([session]);
});

test("a silence still counts when the master's clock was set back behind the last lease", async () => {
  const clock = new SettableClock();
  const liveness = await openLiveness(clock);
  liveness.heard("web1");
  clock.pass(MINUTE);
  const leasedAt = clock.time;
  clock.time -= HOUR;
  clock.pass(30 * MINUTE);
  expect(liveness.silentMs("web1", leasedAt)).toBe(31 * MINUTE);
  liveness.heard("web1");
  expect(liveness.silentMs("web1", leasedAt)).toBe(31 * MINUTE);
  liveness.close();
});

/** A job that two hosts have acknowledged, and the events of its stream as they come. */
async function startedJob(clock: SettableClock) {
  const store = new MemoryStore(clock);
  const hosts = await Hosts.load(store, clock);
  const events = new EventBus(clock);
  const acceptedIds = () => ["alive", "dead"];
  const common = { store, hosts, events, log: quiet, keepMs: HOUR, clock };
  const returns = new Returns(common);
  const sign = () => Uint8Array.of(1);
  const jobs = await Jobs.load({
    ...common,
    journal: async (_fact, changes) => store.write(changes),
    returns,
    sign,
    identity: generateIdentity(),
    acceptedIds,
    heartbeatMs: 1000,
  });
  for (const id of acceptedIds()) {
    const hello = { version: "1", bootId: "b", role: "agent", grains: {}, lastSeq: 0 } as const;
    await hosts.hello(new FakeSession(id), hello);
  }
  const target = { kind: "glob", expr: "*" } as const;
  const stream = await jobs.start({ target, fun: "test.ping", args: [], kwargs: {}, timeoutMs: 5000 });
  const seen: JobEvent[] = [];
  const ending = new AbortController();
  const reading = (async () => {
    for await (const event of stream.read(ending.signal)) {
      if (event.event === "start") for (const id of acceptedIds()) jobs.acked(id, { jid: event.jid });
      seen.push(event);
    }
  })();
  await expect.poll(() => seen.filter(({ event }) => event === "ack")).toHaveLength(2);
  const jid = seen[0]?.event === "start" ? seen[0].jid : "";
  const aliveAgain = () =>
    jobs.heartbeat("alive", {
      lastSeq: 1,
      counter: 1,
      bootId: "b",
      signature: new Uint8Array(64),
      running: [{ jid, fun: "test.ping", since: 0 }],
    });
  const end = async () => {
    jobs.close();
    ending.abort();
    await reading;
  };
  return { jobs, seen, aliveAgain, end, missing: () => seen.filter(({ event }) => event === "missing") };
}

test.each([
  ["forward", HOUR],
  ["back", -HOUR],
])("a job loses whoever is silent, and nobody else, when the master's clock is set %s", async (_where, jump) => {
  const clock = new SettableClock();
  const { aliveAgain, end, missing } = await startedJob(clock);
  clock.pass(3000);
  aliveAgain();
  clock.time += jump;
  clock.pass(3000);
  await expect.poll(missing).toMatchObject([{ id: "dead" }]);
  await end();
});

test("lesson: 2022-22936 a signed push is refused the second time, also when the clock went forward and back meanwhile", async () => {
  const clock = new SettableClock();
  const store = new MemoryStore(clock);
  const journal: Journal = async (_event, changes = []) => void (await store.write(changes));
  const operators = await Operators.load(store, journal);
  const key = signingKeyFromSeed(randomBytes(32));
  await operators.add("ann", key.publicKey, clock.now());
  const askers = await Askers.load({ store, now: () => clock.now(), bootOf: () => "b", report: () => {} });
  const open = async () =>
    new Pushes({
      store,
      journal,
      operators,
      policy: { current: async () => ({ kind: "none" as const, hash: "" as const }), signedPushes: async () => false },
      askers,
      nonces: await Nonces.load(store, () => clock.now()),
      master: "SHA256:master",
      now: () => clock.now(),
    });
  const statement: JobStatement = {
    what: "job",
    master: "SHA256:master",
    targetKind: "glob",
    target: "web1",
    fun: "state.highstate",
    args: argumentsDigest([], {}),
    operator: "ann",
    expires: clock.now() + 5 * MINUTE,
    nonce: randomBytes(16).toString("hex"),
  };
  const signature = key.sign(statementBytes(statement)).toString("hex");
  const target = { kind: "glob", expr: "web1" } as const;
  const request = { target, fun: statement.fun, args: [], kwargs: {}, timeoutMs: 1, pushed: { statement, signature } };
  const pushes = await open();
  await (
    await pushes.prove(request)
  )?.({ jid: "1", fun: statement.fun, ids: ["web1"] });
  clock.time += 10 * MINUTE;
  // others are pushed meanwhile, and the store forgets what is over
  const other = { ...statement, nonce: randomBytes(16).toString("hex"), expires: clock.now() + MINUTE };
  const signed = { statement: other, signature: key.sign(statementBytes(other)).toString("hex") };
  await pushes.prove({ ...request, pushed: signed });
  clock.time -= 10 * MINUTE;
  await expect(pushes.prove(request)).rejects.toThrow("it was used before");
  await expect((await open()).prove(request)).rejects.toThrow("it was used before");
});
