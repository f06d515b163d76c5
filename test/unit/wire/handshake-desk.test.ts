import { expect, test } from "vitest";
import type { Clock } from "../../../src/core/clock.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { Drops } from "../../../src/wire/drop-counters.ts";
import type { Admission } from "../../../src/wire/endpoints.ts";
import { decodeFrame, encodeOpening } from "../../../src/wire/frames.ts";
import { HalfOpenTable } from "../../../src/wire/half-open.ts";
import { HandshakeDesk } from "../../../src/wire/handshake-desk.ts";
import { makeProof, prologue } from "../../../src/wire/handshake-proof.ts";
import { HALF_OPEN_MS, MAX_HALF_OPEN } from "../../../src/wire/limits.ts";
import { OpeningTickets } from "../../../src/wire/opening-ticket.ts";
import { NoiseHandshake } from "../../../src/wire/noise.ts";

const route = Buffer.from("route");

function setUp(admission: Admission) {
  const identity = generateIdentity();
  const minion = generateIdentity();
  const admitted: string[] = [];
  const drops = new Drops();
  const sent: Buffer[] = [];
  const slept: number[] = [];
  let now = 1_234;
  const clock: Clock = {
    now: () => now,
    monotonicMs: () => now,
    sleep: async (ms) => {
      slept.push(ms);
      return Promise.resolve();
    },
  };
  const desk = new HandshakeDesk({
    identity,
    clock,
    drops,
    tickets: new OpeningTickets(identity, clock),
    addressOf: () => "192.0.2.1",
    holder: () => (admission === "accept" ? minion.public : undefined),
    admit: async (id) => {
      admitted.push(id);
      return Promise.resolve(admission);
    },
    send: async (_route, frame) => Promise.resolve(sent.push(Buffer.from(frame)) > 0),
    open: () => {},
  });
  const open = async (kind: "xx1" | "ik1") => {
    const noise = new NoiseHandshake({
      pattern: kind === "ik1" ? "IK" : "XX",
      role: "initiator",
      prologue: prologue("web1"),
      staticKey: minion.dh,
      remoteStatic: identity.dh.publicKey,
    });
    const message = noise.write((binding) => (kind === "ik1" ? makeProof("minion", minion, binding) : Buffer.alloc(0)));
    const frame = decodeFrame(encodeOpening(kind, "web1", message));
    if (typeof frame === "string" || (frame.kind !== "xx1" && frame.kind !== "ik1")) throw new Error("no opening");
    await desk.opening(route, frame);
  };
  const pass = (ms: number) => {
    now += ms;
  };
  return { desk, drops, sent, slept, open, pass, admitted };
}

test("I6: a refusal waits for the next tick of the clock, so its time tells nothing; an acceptance does not wait", async () => {
  const refused = setUp("refuse");
  await refused.open("ik1");
  expect(refused.slept).toEqual([66]);
  const accepted = setUp("accept");
  await accepted.open("ik1");
  expect(accepted.slept).toEqual([]);
  expect(refused.sent[0]).toHaveLength(accepted.sent[0]?.length ?? 0);
});

test("an opening by IK is compared with the accepted key and noted nowhere: it may be a replay", async () => {
  for (const admission of ["accept", "refuse"] as const) {
    const { open, admitted, sent } = setUp(admission);
    for (let replay = 0; replay < 3; replay += 1) await open("ik1");
    expect(sent).toHaveLength(3);
    expect(admitted).toEqual([]);
  }
});

test("a handshake counts as unfinished while its proof is checked, and a key deleted meanwhile is refused", async () => {
  const { desk, open, slept } = setUp("accept");
  const opening = open("ik1");
  expect(desk.size).toBe(1);
  desk.dropMinion("web1");
  await opening;
  expect(slept).toEqual([66]);
  expect(desk.size).toBe(0);
});

test("unfinished handshakes are bounded in age", async () => {
  const { desk, drops, open, pass } = setUp("accept");
  await open("xx1");
  await open("ik1");
  desk.expire();
  expect(desk.size).toBe(2);
  pass(HALF_OPEN_MS + 1);
  await open("xx1");
  desk.expire();
  expect(desk.size).toBe(1);
  expect(drops.snapshot()).toEqual({ "half-open": 2 });
});

test("unfinished handshakes are bounded in number: the oldest leave", () => {
  const drops = new Drops();
  const clock: Clock = { now: () => 0, monotonicMs: () => 0, sleep: async () => Promise.resolve() };
  const table = new HalfOpenTable<{ readonly minionId: string; drop(): void }>(clock, drops);
  const dropped: number[] = [];
  for (let at = 0; at < MAX_HALF_OPEN + 5; at += 1) {
    table.add(String(at), { minionId: "web1", drop: () => dropped.push(at) });
  }
  expect(table.size).toBe(MAX_HALF_OPEN);
  expect(dropped).toEqual([0, 1, 2, 3, 4]);
  expect(drops.snapshot()).toEqual({ "half-open": 5 });
});
