import { afterEach, expect, test } from "vitest";
import { generateIdentity } from "../../../src/core/identity.ts";
import { Attacker } from "./attacker.ts";
import { closeAll, job, startMaster, startMinion, until } from "./pair.ts";

afterEach(closeAll);

const route = "5a".repeat(16);

test("a session knows its minion's address, and so does whoever decides on its key", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  await new Attacker(master.endpoint.returnPort, { from: "127.0.0.2" }).xx("web2", generateIdentity());
  await until("both", () => master.opened.length === 2);
  const addresses = { "web1.example": "127.0.0.1", web2: "127.0.0.2" };
  expect(Object.fromEntries(master.opened.map((session) => [session.minionId, session.address]))).toEqual(addresses);
  expect(Object.fromEntries(master.admissions.map(({ id, address }) => [id, address]))).toEqual(addresses);
});

test("several masters in one process each see their own minions' addresses, also after one of them closed", async () => {
  const [first, second] = [await startMaster(), await startMaster()];
  await startMinion(first.endpoint).connection.ready();
  await first.endpoint.close();
  await new Attacker(second.endpoint.returnPort, { from: "127.0.0.3" }).xx("web3", generateIdentity());
  await until("session", () => second.opened.length === 1);
  expect([first.opened[0]?.address, second.opened[0]?.address]).toEqual(["127.0.0.1", "127.0.0.3"]);
  await second.endpoint.close();
  const third = await startMaster();
  await startMinion(third.endpoint).connection.ready();
  expect(third.opened[0]?.address).toBe("127.0.0.1");
});

test("an IPv4 peer of a master that listens on IPv6 has its IPv4 address", async () => {
  const master = await startMaster(generateIdentity(), [0, 0], "::ffff:127.0.0.1");
  await startMinion(master.endpoint).connection.ready();
  expect(master.opened[0]?.address).toBe("127.0.0.1");
});

test.each(["::1", "[::1]"])("a master is reached by its IPv6 address %s, on both channels", async (host) => {
  const master = await startMaster(generateIdentity(), [0, 0], "::1");
  const { publishPort, returnPort } = master.endpoint;
  const minion = startMinion({ host, publishPort, returnPort });
  await minion.connection.ready();
  await until("published to it", () => {
    if (minion.jobs.length === 0) void master.endpoint.publish(job(1));
    return minion.jobs.length === 1;
  });
  expect(master.opened.map(({ address }) => address)).toEqual(["::1"]);
});

test("a name that nobody knows costs no time: the next master of the list is tried at once", async () => {
  const master = await startMaster();
  const { publishPort, returnPort } = master.endpoint;
  const unknown = { host: "nosuch.invalid", publishPort, returnPort };
  const minion = startMinion(unknown, { more: [{ host: "localhost", publishPort, returnPort }] });
  await minion.connection.ready();
  expect(minion.states).toMatchObject([
    { kind: "connecting", address: expect.stringMatching(/^nosuch\.invalid:/u) as string },
    { kind: "disconnected", reason: expect.stringContaining('cannot find the address of "nosuch.invalid"') as string },
    { kind: "connecting", address: expect.stringMatching(/^localhost:/u) as string },
    { kind: "connected" },
  ]);
});

test("nobody connects under another's route from another address, before its session or during it", async () => {
  const master = await startMaster();
  const victim = new Attacker(master.endpoint.returnPort, { route });
  await until("victim connected", () => victim.events.includes("handshake"));
  const early = new Attacker(master.endpoint.returnPort, { said: route, from: "127.0.0.2" });
  await until("turned away", () => early.events.includes("handshake:error:auth"));
  await victim.xx("web1", generateIdentity());
  const late = new Attacker(master.endpoint.returnPort, { route, from: "127.0.0.2" });
  await until("turned away", () => late.events.includes("handshake:error:auth"));
  expect(master.endpoint.drops()["turned-away"]).toBe(2);
  expect(master.opened.map(({ address }) => address)).toEqual(["127.0.0.1"]);
  expect(await master.opened[0]?.notify({ kind: "probe" })).toBe(true);
});

test("a connection whose route is not the one it said has no address, least of all somebody else's", async () => {
  const master = await startMaster();
  const liar = new Attacker(master.endpoint.returnPort, { route, said: "6b".repeat(16), from: "127.0.0.2" });
  await liar.xx("web1", generateIdentity());
  await until("session", () => master.opened.length === 1);
  expect(master.opened[0]?.address).toBe("");
  const honest = new Attacker(master.endpoint.returnPort, { from: "127.0.0.3" });
  await honest.xx("web2", generateIdentity());
  await until("session", () => master.opened.length === 2);
  expect(master.opened[1]?.address).toBe("127.0.0.3");
});

test.each([
  ["no route", { said: null }, "handshake:error:protocol"],
  ["a short route", { said: "ab" }, "handshake:error:auth"],
  ["no hex", { said: "zz".repeat(16) }, "handshake:error:auth"],
])("a peer that says %s when it connects is turned away, and disturbs nobody", async (_what, how, event) => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const attacker = new Attacker(master.endpoint.returnPort, how);
  await until("turned away", () => attacker.events.includes(event) || attacker.events.includes("disconnect"));
  expect(attacker.events).not.toContain("handshake");
  expect(await minion.connection.request("pillar", {})).toEqual({ pillar: { for: "web1.example" } });
});

test("a route is free again when its session is over", async () => {
  const master = await startMaster();
  const first = new Attacker(master.endpoint.returnPort, { route });
  await first.xx("web1", generateIdentity());
  await until("session", () => master.opened.length === 1);
  master.endpoint.disconnect("web1");
  await until("over", () => master.closed.length === 1);
  const second = new Attacker(master.endpoint.returnPort, { said: route });
  await until("an end", () => second.events.length > 0);
  expect(second.events).toEqual(["handshake"]);
});
