import { afterEach, expect, test } from "vitest";
import { type Clock, systemClock } from "../../../src/core/clock.ts";
import { AuthError, ProtocolError, TransportError } from "../../../src/core/errors.ts";
import { fingerprint, generateIdentity, sameIdentity } from "../../../src/core/identity.ts";
import { closeAll, startMaster, startMinion, until } from "./pair.ts";

afterEach(closeAll);

test("a new minion shakes hands with XX, a known master with IK, and both share one handshake hash", async () => {
  const master = await startMaster();
  const first = startMinion(master.endpoint);
  await first.connection.ready();
  expect(first.remembered).toHaveLength(1);
  expect(sameIdentity(first.connection.master, master.identity.public)).toBe(true);
  expect(Buffer.from(master.opened[0]?.handshakeHash ?? [])).toEqual(Buffer.from(first.connection.handshakeHash));
  expect(master.admissions[0]?.id).toBe("web1.example");
  expect(sameIdentity(master.admissions[0]?.peer ?? master.identity.public, first.identity.public)).toBe(true);

  const identity = generateIdentity();
  master.holders.set("web2", identity.public);
  const second = startMinion(master.endpoint, { id: "web2", identity, known: [master.identity.public] });
  await second.connection.ready();
  expect(second.remembered).toHaveLength(0);
  expect(master.admissions).toHaveLength(1);
  const answers = await Promise.all([first, second].map(({ connection }) => connection.request("pillar", {})));
  expect(answers).toEqual([{ pillar: { for: "web1.example" } }, { pillar: { for: "web2" } }]);
});

test("lesson: what a minion says first after IK may be larger than a stranger's messages: a hello with many grains", async () => {
  const master = await startMaster();
  const identity = generateIdentity();
  await startMinion(master.endpoint, { identity }).connection.ready();
  const grains = { mounts: "x".repeat(100_000) };
  const minion = startMinion(master.endpoint, { identity, known: [master.identity.public], grains });
  await until("hello", () => master.requests.some(({ body }) => JSON.stringify(body).includes("xxx")));
  await minion.connection.ready();
  expect(master.endpoint.drops()).not.toHaveProperty("oversized");
});

test("a fingerprint configured in any spelling is enough, and no other master is believed", async () => {
  const master = await startMaster();
  const pinned = fingerprint(master.identity.public).toUpperCase();
  const minion = startMinion(master.endpoint, { fingerprints: [pinned] });
  await minion.connection.ready();
  expect(minion.remembered).toHaveLength(1);
});

test("a master with another fingerprint hears nothing more, not even the minion's key", async () => {
  const master = await startMaster();
  const expected = generateIdentity().fingerprint;
  const minion = startMinion(master.endpoint, { fingerprints: [expected] });
  await until("wrong master", () => minion.connection.state.kind === "wrong-master");
  const found = master.identity.fingerprint;
  expect(minion.connection.state).toMatchObject({ kind: "wrong-master", expected, found });
  expect(master.admissions).toHaveLength(0);
  expect(minion.remembered).toHaveLength(0);
  expect(() => minion.connection.handshakeHash).toThrow(TransportError);
});

test("lesson: 2020-28972 a master is verified by default: nothing configured, first use not allowed, no session", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint, { firstUse: false });
  await until("wrong master", () => minion.connection.state.kind === "wrong-master");
  expect(master.admissions).toHaveLength(0);
});

test("a known master that changed its keys is found out, and not believed", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint, { known: [generateIdentity().public] });
  await until("wrong master", () => minion.connection.state.kind === "wrong-master");
  expect(master.admissions).toHaveLength(0);
});

test("more calls than usual beside an agent end neither it nor each other", async () => {
  const master = await startMaster();
  const identity = generateIdentity();
  const agent = startMinion(master.endpoint, { identity });
  await agent.connection.ready();
  const other = startMinion(master.endpoint, { id: "web2" });
  await other.connection.ready();
  for (let n = 0; n < 10; n += 1) await startMinion(master.endpoint, { identity, call: true }).connection.ready();
  const own = [...master.endpoint.sessions()].filter(({ minionId }) => minionId === "web1.example");
  expect(own).toHaveLength(11);
  expect(master.closed).toEqual([]);
  await Promise.all([agent, other].map(async ({ connection }) => connection.request("pillar", {})));
});

test("a minion whose sessions end soon knocks ever more slowly, until one has lasted", async () => {
  const master = await startMaster();
  let passed = 0;
  const clock = { ...systemClock, monotonicMs: () => passed };
  const minion = startMinion(master.endpoint, { clock, call: true });
  const pauses = () => minion.states.flatMap((state) => (state.kind === "disconnected" ? [state.retryMs] : []));
  const sendAway = async () => {
    await minion.connection.ready();
    const before = pauses().length;
    master.endpoint.disconnect("web1.example");
    await until("sent away", () => pauses().length > before);
  };
  for (let n = 0; n < 3; n += 1) await sendAway();
  expect(pauses()[2]).toBeGreaterThanOrEqual(200);
  await minion.connection.ready();
  passed += 3000;
  await sendAway();
  expect(pauses()[3]).toBeLessThanOrEqual(100);
});

test("a minion that sends one large return after the other is held back, and brings them later", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const data = Array.from({ length: 190_000 }, () => 0);
  const facts = { fun: "x", success: true, retcode: 0, startedAt: 1, finishedAt: 2, startup: false, data };
  const send = async () => minion.connection.request("return", { ...facts, jid: "20260101000000000000" });
  const outcomes = await Promise.allSettled(Array.from({ length: 6 }, send));
  const codes = outcomes.map((one) => (one.status === "fulfilled" ? "done" : (one.reason as TransportError).code));
  expect(codes.slice(0, 2)).toEqual(["done", "done"]);
  expect(codes).toContain("master-busy");
  expect(await minion.connection.request("pillar", {})).toEqual({ pillar: { for: "web1.example" } });
  await expect
    .poll(
      async () =>
        send().then(
          () => "done",
          () => "busy",
        ),
      { interval: 200 },
    )
    .toBe("done");
});

test("a minion waits for acceptance, and asks for it again within two seconds", async () => {
  const master = await startMaster();
  master.verdict = "refuse";
  const pauses: number[] = [];
  const clock: Clock = {
    ...systemClock,
    sleep: async (ms, signal) => {
      pauses.push(ms);
      return systemClock.sleep(ms, signal);
    },
  };
  const minion = startMinion(master.endpoint, { clock });
  await until("waiting", () => minion.connection.state.kind === "waiting-for-acceptance");
  expect(minion.connection.state).toMatchObject({ fingerprint: minion.identity.fingerprint });
  expect(master.opened).toHaveLength(0);
  expect(pauses.at(-1)).toBeLessThan(1800);
  master.verdict = "accept";
  await minion.connection.ready();
  expect(minion.states.map((state) => state.kind)).toEqual(["connecting", "waiting-for-acceptance", "connected"]);
});

test("what the master's handler throws reaches the minion as one constant word", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  master.answer = async () => Promise.reject(new AuthError("not-yours", "the secret reason"));
  const refused = minion.connection.request("pillar", {});
  await expect(refused).rejects.toThrow(AuthError);
  await expect(refused).rejects.not.toThrow(/secret reason/u);
  master.answer = async () => Promise.reject(new Error("the secret reason"));
  await expect(minion.connection.request("pillar", {})).rejects.toMatchObject({ code: "master-failed" });
  expect(master.reports).toHaveLength(2);
});

test("requests time out, can be aborted, and end with the session; too large ones never leave", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  master.answer = () => new Promise(() => {});
  const { connection } = minion;
  await expect(connection.request("pillar", {}, { timeoutMs: 20 })).rejects.toMatchObject({ code: "timeout" });
  const abort = new AbortController();
  const aborted = connection.request("pillar", {}, { signal: abort.signal });
  abort.abort(new Error("enough"));
  await expect(aborted).rejects.toThrow("enough");
  const huge = { pillar: "x".repeat(9 * 1024 * 1024) };
  const grains = connection.request("hello", { version: "1", bootId: "", role: "call", grains: huge, lastSeq: 0 });
  await expect(grains).rejects.toThrow(ProtocolError);
  const lost = connection.request("pillar", {});
  await connection.close();
  await expect(lost).rejects.toMatchObject({ code: "session-lost" });
});

test("many requests at once each get their own answer; beyond the bound the master says busy", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const going: (() => void)[] = [];
  master.answer = async (session, method) => {
    await new Promise<void>((resolve) => {
      going.push(resolve);
    });
    if (method !== "pillar") throw new Error("unexpected");
    return { pillar: { for: session.minionId } } as never;
  };
  const asked = Promise.allSettled(Array.from({ length: 70 }, () => minion.connection.request("pillar", {})));
  await until("64 in flight", () => going.length === 64);
  for (const go of going) go();
  const results = await asked;
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(64);
});

test("a minion may have several sessions, an agent's and one-off calls', and ending one leaves the others", async () => {
  const master = await startMaster();
  const identity = generateIdentity();
  const agent = startMinion(master.endpoint, { identity });
  const call = startMinion(master.endpoint, { identity, call: true });
  await Promise.all([agent.connection.ready(), call.connection.ready()]);
  expect([...master.endpoint.sessions()]).toHaveLength(2);
  await call.connection.close();
  expect(await agent.connection.request("pillar", {})).toEqual({ pillar: { for: "web1.example" } });
});

test("lesson: #52662 deleting a key cuts the live sessions at once, others stay", async () => {
  const master = await startMaster();
  const [cut, stays] = [startMinion(master.endpoint), startMinion(master.endpoint, { id: "web2" })];
  await Promise.all([cut.connection.ready(), stays.connection.ready()]);
  master.verdict = "refuse";
  master.endpoint.disconnect("web1.example");
  expect([...master.endpoint.sessions()].map(({ minionId }) => minionId)).toEqual(["web2"]);
  await until("refused now", () => cut.connection.state.kind === "waiting-for-acceptance");
  expect(await stays.connection.request("pillar", {})).toEqual({ pillar: { for: "web2" } });
});

test("a restarted master is noticed asked again at once, and the session is back", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const { returnPort } = master.endpoint;
  await master.endpoint.close();
  await until("disconnected", () => minion.connection.state.kind !== "connected");
  const again = await startMaster(master.identity, returnPort);
  await minion.connection.ready();
  const [lost] = minion.states.filter((state) => state.kind === "disconnected");
  expect(lost?.retryMs).toBeLessThanOrEqual(100);
  expect(again.opened).toHaveLength(1);
  expect(minion.states.map(({ kind }) => kind)).not.toContain("wrong-master");
});

test("a minion goes down its list of masters until one answers", async () => {
  const gone = await startMaster();
  const { returnPort } = gone.endpoint;
  await gone.endpoint.close();
  const master = await startMaster();
  const minion = startMinion({ returnPort }, { more: [master.endpoint] });
  await minion.connection.ready();
  expect(minion.connection.state).toEqual({ kind: "connected", address: `127.0.0.1:${master.endpoint.returnPort}` });
});

test("the master knows a closed minion as gone: notify is false, and the session ends", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const [session] = master.opened;
  expect(await session?.notify({ kind: "probe" })).toBe(true);
  await minion.connection.close();
  await until("session closed", () => {
    void session?.notify({ kind: "probe" });
    return master.closed.length === 1;
  });
  expect(await session?.notify({ kind: "probe" })).toBe(false);
  expect([...master.endpoint.sessions()]).toHaveLength(0);
});

test("a taken port is a clear error", async () => {
  const master = await startMaster();
  const { returnPort } = master.endpoint;
  await expect(startMaster(master.identity, returnPort)).rejects.toMatchObject({ code: "cannot-bind" });
});

test("an attempt to connect that fails by a mistake of ours is made again: a minion never gives up", async () => {
  const master = await startMaster();
  const { connection, states } = startMinion({ returnPort: 1 }, { more: [master.endpoint] });
  const push = states.push.bind(states);
  let failures = 0;
  states.push = (...more) => {
    if (failures === 0 && more.some(({ kind }) => kind === "connecting")) {
      failures += 1;
      throw new Error("a mistake of ours");
    }
    return push(...more);
  };
  await connection.ready(AbortSignal.timeout(60_000));
  expect(failures).toBe(1);
  expect(await connection.request("pillar", {})).toEqual({ pillar: { for: "web1.example" } });
});
