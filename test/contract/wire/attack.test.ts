import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";
import { generateIdentity, type Identity } from "../../../src/core/identity.ts";
import { Channel } from "../../../src/wire/channel.ts";
import { encodeOpening } from "../../../src/wire/frames.ts";
import { makeProof, prologue } from "../../../src/wire/handshake-proof.ts";
import { MAX_FRAME_BYTES } from "../../../src/wire/limits.ts";
import { NoiseHandshake } from "../../../src/wire/noise.ts";
import { decodeMasterPacket, encodeConfirm, encodeRequest } from "../../../src/wire/packets.ts";
import { boundsFor } from "../../../src/wire/zmtp/descriptors.ts";
import { bindRouter } from "../../../src/wire/zmtp/listener.ts";
import { Attacker, decoded } from "./attacker.ts";
import { closeAll, opened, startMaster, startMinion, type TestMaster, until } from "./pair.ts";

afterEach(closeAll);

function ikOpening(
  master: TestMaster,
  id: string,
  identity: Identity,
  signer = identity,
): readonly [Buffer, NoiseHandshake] {
  const noise = new NoiseHandshake({
    pattern: "IK",
    role: "initiator",
    prologue: prologue(id),
    staticKey: identity.dh,
    remoteStatic: master.identity.dh.publicKey,
  });
  return [
    encodeOpening(
      "ik1",
      id,
      noise.write((binding) => makeProof("minion", signer, binding)),
    ),
    noise,
  ];
}

test("I6: pending, rejected, unknown and taken ids get one answer: same frames, same sizes, same words, at a tick", async () => {
  const master = await startMaster();
  master.verdict = "refuse";
  const shapes: unknown[] = [];
  for (const id of ["a", "known-one", "x".repeat(200)]) {
    const attacker = new Attacker(master.endpoint.returnPort);
    const { verdict, channel } = await attacker.xx(id, generateIdentity());
    const { counter, frame } = decoded(verdict, "data");
    const said = channel.open(counter, frame);
    // what looks like a ticket is random
    shapes.push([verdict.length, said.length, said.slice(0, 3)]);
    const [opening, noise] = ikOpening(master, id, generateIdentity());
    await attacker.send(opening);
    const reply = decoded(await attacker.receive(), "ik2");
    const { payload } = noise.read(reply.noise);
    shapes.push([reply.noise.length, payload.length, payload[0]]);
  }
  expect(new Set(shapes.map((shape) => JSON.stringify(shape))).size).toBe(2);
  master.verdict = "accept";
  const accepted = await new Attacker(master.endpoint.returnPort).xx("a", generateIdentity());
  expect(JSON.stringify(shapes[0])).toContain(`[${accepted.verdict.length},`);
  expect(master.opened).toHaveLength(1);
});

test("lesson: 2023-20897 garbage on the request socket is counted, and a live session never notices", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  const attacker = new Attacker(master.endpoint.returnPort);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(0, 1, 2, 3, 4, 5, 16), async (body, kind) => {
      await attacker.send(body);
      await attacker.send(Buffer.concat([Uint8Array.of(1, kind), body]));
    }),
    { numRuns: 300 },
  );
  await until("counted", () => Object.values(master.endpoint.drops()).reduce((sum, count) => sum + count, 0) >= 600);
  expect(master.endpoint.drops()["garbage"]).toBeGreaterThan(0);
  expect(await minion.connection.request("pillar", {})).toEqual({ pillar: { for: "web1.example" } });
  expect(master.reports).toEqual([]);
  expect(master.closed).toEqual([]);
});

test("an oversized frame cuts off its sender alone", async () => {
  const master = await startMaster();
  const minion = startMinion(master.endpoint);
  await minion.connection.ready();
  await new Attacker(master.endpoint.returnPort).send(Buffer.alloc(MAX_FRAME_BYTES + 1));
  const honest = new Attacker(master.endpoint.returnPort);
  await honest.xx("web2", generateIdentity());
  expect(await minion.connection.request("pillar", {})).toEqual({ pillar: { for: "web1.example" } });
  expect(master.endpoint.drops()).toEqual({ oversized: 1 });
});

test("an attacker who knows a live session's id, or claims its route, cannot speak in it, end it or read it", async () => {
  const master = await startMaster();
  const route = "ab".repeat(16);
  const victim = new Attacker(master.endpoint.returnPort, { route });
  const { channel } = await victim.xx("web1", generateIdentity());
  const stolen = channel.seal(encodeConfirm());
  const attackers = [new Attacker(master.endpoint.returnPort), new Attacker(master.endpoint.returnPort, { route })];
  for (const attacker of attackers) {
    await attacker.send(stolen);
    await attacker.send(Buffer.concat([stolen.subarray(0, 18), randomBytes(40)]));
  }
  await until("dropped", () => master.endpoint.drops()["wrong-route"] === 4);
  await victim.send(stolen);
  await victim.send(stolen);
  await until("the replay alone is dropped", () => master.endpoint.drops()["replayed"] === 1);
  expect(master.closed).toHaveLength(0);
});

test("lesson: 2022-22935 a replayed IK opening makes no session and disturbs none", async () => {
  const master = await startMaster();
  const identity = generateIdentity();
  const victim = new Attacker(master.endpoint.returnPort);
  master.holders.set("web1", identity.public);
  const [opening, noise] = ikOpening(master, "web1", identity);
  await victim.send(opening);
  const reply = decoded(await victim.receive(), "ik2");
  noise.read(reply.noise);
  const channel = new Channel(reply.sessionId, noise.finish());
  const confirm = channel.seal(encodeConfirm());
  await victim.send(confirm);
  await until("the session", () => master.opened.length === 1);
  expect(master.admissions).toHaveLength(0);

  const attacker = new Attacker(master.endpoint.returnPort);
  await attacker.send(opening);
  const fake = decoded(await attacker.receive(), "ik2");
  expect(fake.sessionId).not.toBe(reply.sessionId);
  await attacker.send(
    Buffer.concat([confirm.subarray(0, 2), Buffer.from(fake.sessionId, "hex"), confirm.subarray(10)]),
  );
  await attacker.send(confirm);
  await until(
    "both dropped",
    () => master.endpoint.drops()["bad-seal"] === 1 && master.endpoint.drops()["wrong-route"] === 1,
  );
  expect(master.opened).toHaveLength(1);
  expect([...master.endpoint.sessions()]).toHaveLength(1);
  expect(await master.opened[0]?.notify({ kind: "probe" })).toBe(true);
});

test("a recorded opening of a key that is not accepted (any more) changes nothing, however often it comes", async () => {
  const master = await startMaster();
  const [opening] = ikOpening(master, "web1", generateIdentity());
  const attacker = new Attacker(master.endpoint.returnPort);
  for (let replay = 0; replay < 5; replay += 1) {
    await attacker.send(opening);
    decoded(await attacker.receive(), "ik2");
  }
  expect(master.admissions).toEqual([]);
  expect(master.opened).toEqual([]);
});

test("a minion with a key that the master forgot is noted all the same: refused by IK, it proves itself by XX", async () => {
  const master = await startMaster();
  master.verdict = "refuse";
  const minion = startMinion(master.endpoint, { known: [master.identity.public] });
  await until("waiting", () => minion.connection.state.kind === "waiting-for-acceptance");
  expect(master.admissions).toMatchObject([{ id: "web1.example", address: "127.0.0.1" }]);
});

test("the first message confirms an IK handshake, and is answered; one that nobody can read opens a session and no more", async () => {
  const master = await startMaster();
  const connect = async () => {
    const peer = new Attacker(master.endpoint.returnPort);
    const identity = generateIdentity();
    master.holders.set("web1", identity.public);
    const [opening, noise] = ikOpening(master, "web1", identity);
    await peer.send(opening);
    const reply = decoded(await peer.receive(), "ik2");
    noise.read(reply.noise);
    return { peer, channel: new Channel(reply.sessionId, noise.finish()) };
  };
  const { peer, channel } = await connect();
  await peer.send(channel.seal(encodeRequest(7, "jobs.since", { lastSeq: 0 })));
  const answer = decoded(await peer.receive(), "data");
  const plaintext = channel.open(answer.counter, answer.frame);
  if (typeof plaintext === "string") throw new Error(plaintext);
  expect(decodeMasterPacket(plaintext)).toMatchObject({ id: 7 });
  expect(master.opened).toHaveLength(1);

  const other = await connect();
  await other.peer.send(other.channel.seal(Buffer.from("c1", "hex")));
  await until("it is counted", () => master.endpoint.drops()["bad-message"] === 1);
  expect(master.opened).toHaveLength(2);
});

test("lesson: 2024-38825 a handshake without proof of the signing key ends before anyone is asked", async () => {
  const master = await startMaster();
  const attacker = new Attacker(master.endpoint.returnPort);
  const [mine, theirs] = [generateIdentity(), generateIdentity()];
  const [opening] = ikOpening(master, "web1", mine, {
    ...theirs,
    sign: { ...mine.sign, publicKey: theirs.sign.publicKey },
  });
  await attacker.send(opening);
  decoded(await attacker.receive(), "unreadable-handshake-hint");
  expect(master.admissions).toHaveLength(0);
  expect(master.endpoint.drops()).toEqual({ "bad-handshake": 1 });
});

test("lesson: 2025-62349 the id in clear is the one in the handshake: changing it on the way breaks the handshake", async () => {
  const master = await startMaster();
  const attacker = new Attacker(master.endpoint.returnPort);
  const [opening] = ikOpening(master, "web1", generateIdentity());
  opening[6] = "2".codePointAt(0) ?? 0;
  await attacker.send(opening);
  decoded(await attacker.receive(), "unreadable-handshake-hint");
  expect(master.admissions).toHaveLength(0);
});

test("another protocol version gets a clear answer that names ours", async () => {
  const master = await startMaster();
  const attacker = new Attacker(master.endpoint.returnPort);
  await attacker.send(Buffer.of(9, 1, 1, 97, 0));
  expect(decoded(await attacker.receive(), "version-hint").versions).toEqual([1]);
  expect(master.endpoint.drops()).toEqual({ version: 1 });
});

test("a frame of a session that is gone gets a hint, so that the minion shakes hands again", async () => {
  const master = await startMaster();
  const attacker = new Attacker(master.endpoint.returnPort);
  await attacker.send(Buffer.concat([Buffer.of(1, 16), Buffer.alloc(8, 7), Buffer.alloc(24)]));
  expect(decoded(await attacker.receive(), "unknown-session-hint").sessionId).toBe("07".repeat(8));
});

test("a key deleted before its handshake is confirmed gets no session", async () => {
  const master = await startMaster();
  const attacker = new Attacker(master.endpoint.returnPort);
  const identity = generateIdentity();
  master.holders.set("web1", identity.public);
  const [opening] = ikOpening(master, "web1", identity);
  await attacker.send(opening);
  const reply = decoded(await attacker.receive(), "ik2");
  master.endpoint.disconnect("web1");
  await attacker.send(Buffer.concat([Buffer.of(1, 16), Buffer.from(reply.sessionId, "hex"), Buffer.alloc(40)]));
  decoded(await attacker.receive(), "unknown-session-hint");
  expect(master.opened).toHaveLength(0);
});

test("garbage from a false master crashes no minion", async () => {
  let answered = 0;
  const events = {
    gone: () => {},
    cutOff: () => {},
    frame: (route: Buffer) => {
      answered += 1;
      const noise = randomBytes(answered % 200);
      router.send(route, Buffer.concat([Buffer.of(1, [2, 5, 16, 127][answered % 4] ?? 0), noise]));
      router.send(route, Buffer.concat([Buffer.of(1, 2), randomBytes(200)]));
    },
  };
  const router = await bindRouter("127.0.0.1", 0, events, { clock: systemClock, bounds: boundsFor(1024) });
  opened.push({
    close: async () => {
      await router.close();
    },
  });
  const minion = startMinion({ returnPort: router.port });
  await until("several tries", () => answered >= 4);
  expect(minion.connection.state.kind).not.toBe("connected");
  expect(Object.keys(minion.connection.drops())).toContain("bad-handshake");
});

test("while 41-byte openings come in by the thousand, hosts with a ticket and strangers who pay get their sessions", async () => {
  const master = await startMaster();
  const tickets = new Map<string, Uint8Array>();
  const identity = generateIdentity();
  const first = startMinion(master.endpoint, { id: "known", identity, tickets });
  await first.connection.ready();
  expect(tickets.get(master.identity.fingerprint)).toHaveLength(20);
  await first.connection.close();

  const live = startMinion(master.endpoint, { id: "live" });
  await live.connection.ready();
  const attackers = Array.from({ length: 4 }, () => new Attacker(master.endpoint.returnPort));
  const ending = new AbortController();
  const flood = Promise.all(
    attackers.map(async (attacker) => {
      while (!ending.signal.aborted) {
        for (let n = 0; n < 50; n += 1) await attacker.send(encodeOpening("xx1", "bot", randomBytes(32)));
        await attacker.receive();
      }
    }),
  );
  await until("load", () => (master.endpoint.drops()["cookie-asked"] ?? 0) > 100);
  const known = startMinion(master.endpoint, { id: "known", identity, tickets, known: [master.identity.public] });
  const stranger = startMinion(master.endpoint, { id: "stranger" });
  await Promise.all([known.connection.ready(), stranger.connection.ready()]);
  expect(await live.connection.request("pillar", {})).toEqual({ pillar: { for: "live" } });
  ending.abort();
  await flood;
  expect(master.admissions.map(({ id }) => id)).toEqual(["known", "live", "stranger"]);
  expect(master.closed.some(({ minionId }) => minionId === "live")).toBe(false);
});
