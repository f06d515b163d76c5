import { afterEach, expect, test } from "vitest";
import { generateIdentity } from "../../../src/core/identity.ts";
import { Attacker } from "./attacker.ts";
import { closeAll, job, startMaster, startMinion, until } from "./pair.ts";
import { RawPeer } from "./raw-peer.ts";

afterEach(closeAll);

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
  const master = await startMaster(generateIdentity(), 0, "::ffff:127.0.0.1");
  await startMinion(master.endpoint).connection.ready();
  expect(master.opened[0]?.address).toBe("127.0.0.1");
});

test.each(["::1", "[::1]"])("a master is reached by its IPv6 address %s", async (host) => {
  const master = await startMaster(generateIdentity(), 0, "::1");
  const { returnPort } = master.endpoint;
  const minion = startMinion({ host, returnPort });
  await minion.connection.ready();
  await master.publish(job(1));
  await until("its job", () => minion.jobs.length === 1);
  expect(master.opened.map(({ address }) => address)).toEqual(["::1"]);
});

test("a name that nobody knows costs no time: the next master of the list is tried at once", async () => {
  const master = await startMaster();
  const { returnPort } = master.endpoint;
  const unknown = { host: "nosuch.invalid", returnPort };
  const minion = startMinion(unknown, { more: [{ host: "localhost", returnPort }] });
  await minion.connection.ready();
  expect(minion.states).toMatchObject([
    { kind: "connecting", address: expect.stringMatching(/^nosuch\.invalid:/u) as string },
    { kind: "disconnected", reason: expect.stringContaining('cannot find the address of "nosuch.invalid"') as string },
    { kind: "connecting", address: expect.stringMatching(/^localhost:/u) as string },
    { kind: "connected" },
  ]);
});

test("lesson: a client's own names decide nothing: whatever identity it says, its session has the address of its connection", async () => {
  const master = await startMaster();
  const route = "5a".repeat(16);
  const victim = new Attacker(master.endpoint.returnPort, { route });
  await victim.xx("web1", generateIdentity());
  const liar = new Attacker(master.endpoint.returnPort, { route, from: "127.0.0.2" });
  await liar.xx("web2", generateIdentity());
  await until("both", () => master.opened.length === 2);
  expect(master.opened.map(({ address }) => address)).toEqual(["127.0.0.1", "127.0.0.2"]);
  expect(master.admissions.map(({ address }) => address)).toEqual(["127.0.0.1", "127.0.0.2"]);
  expect(await master.opened[0]?.notify({ kind: "probe" })).toBe(true);
  const named = new Attacker(master.endpoint.returnPort, { route, user: "6b".repeat(16) });
  await until("turned away", () => named.events.length > 0);
  expect(named.events).not.toContain("handshake");
  expect(master.opened).toHaveLength(2);
});

test("no session without a connection: one that closes while it is decided on its key is forgotten", async () => {
  const master = await startMaster();
  const { promise, resolve } = Promise.withResolvers<void>();
  master.decide = async () => promise;
  const peer = await RawPeer.connect(master.endpoint.returnPort);
  await peer.xxUntilThird("web1", generateIdentity());
  await until("asked", () => master.admissions.length === 1);
  peer.close();
  const other = await RawPeer.connect(master.endpoint.returnPort);
  await until("the first is gone", () => master.endpoint.connections().strangers === 1);
  resolve();
  other.close();
  await until("both are gone", () => master.endpoint.connections().strangers === 0);
  expect(master.opened).toEqual([]);
});
