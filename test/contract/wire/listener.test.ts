import { afterEach, expect, test } from "vitest";
import { MAX_FRAME_BYTES } from "../../../src/wire/limits.ts";
import { DEADLINES } from "../../../src/wire/zmtp/connection.ts";
import type { CrowdBounds } from "../../../src/wire/zmtp/crowd.ts";
import { bindRouter } from "../../../src/wire/zmtp/listener.ts";
import type { Route } from "../../../src/wire/zmtp/router-port.ts";
import { Attacker } from "./attacker.ts";
import { closeAll, opened, until } from "./pair.ts";
import { GREETING, head, message, PING, RawPeer, READY } from "./raw-peer.ts";
import { TickClock } from "./tick-clock.ts";

afterEach(closeAll);

const ROOMY: CrowdBounds = { all: 1000, strangers: 1000, strangersOfNetwork: 1000 };

/** A listener that gives a session to whoever says "session". */
async function listen(bounds = ROOMY, address = "127.0.0.1") {
  const clock = new TickClock();
  const frames: { readonly route: Route; readonly body: string }[] = [];
  const gone: Route[] = [];
  const cutOff: [string, string][] = [];
  const router = await bindRouter(
    address,
    0,
    {
      frame: (route, frame) => {
        frames.push({ route, body: frame.length > 100 ? `${frame.length} bytes` : frame.toString("latin1") });
        if (frame.toString("latin1") === "session") router.settle(route);
      },
      gone: (route) => gone.push(route),
      cutOff: (reason, from) => cutOff.push([reason, from]),
    },
    { clock, bounds },
  );
  opened.push(router);
  const withSession = async (from?: string) => {
    const before = router.connections().sessions;
    const peer = await RawPeer.connect(router.port, from);
    peer.send(message(Buffer.from("session")));
    await until("a session", () => router.connections().sessions === before + 1);
    return peer;
  };
  return { router, clock, frames, gone, cutOff, withSession };
}

const arrivals = async (router: { connections(): { strangers: number } }, count: number) =>
  until("they are in", () => router.connections().strangers === count);

test("lesson: a multipart message that never ends is cut off at its first part, with a session or without", async () => {
  const { router, cutOff, frames, withSession } = await listen();
  for (const peer of [await RawPeer.connect(router.port), await withSession()]) {
    peer.send(message(Buffer.alloc(1000), 1));
    await until("cut off", () => peer.isClosed);
  }
  expect(cutOff).toEqual([
    ["bad-zmtp", "127.0.0.1"],
    ["bad-zmtp", "127.0.0.1"],
  ]);
  expect(frames.map(({ body }) => body)).toEqual(["session"]);
});

test("strangers who send without end are worked on in turns and by a pace: a session's message does not wait for them", async () => {
  const { router, frames, withSession } = await listen();
  const known = await withSession();
  const flood = Buffer.concat(Array.from({ length: 2000 }, () => message(Buffer.alloc(40))));
  for (let n = 0; n < 8; n += 1) (await RawPeer.connect(router.port, `127.0.1.${n + 1}`)).send(flood);
  await until("the flood", () => frames.length > 200);
  known.send(message(Buffer.from("a lease")));
  await until("it is served", () => frames.some(({ body }) => body === "a lease"));
  // 72 KiB of theirs at once; the clock stands still, and no more of it is worked on
  expect(frames.length).toBeLessThan(2 + (72 * 1024) / 42);
});

test("large messages are for sessions: a stranger that claims one is cut off by its head", async () => {
  const { router, cutOff, frames, withSession } = await listen();
  const stranger = await RawPeer.connect(router.port);
  stranger.send(head(4096));
  await until("cut off", () => stranger.isClosed);
  const known = await withSession();
  known.send(message(Buffer.alloc(MAX_FRAME_BYTES)));
  await until("taken", () => frames.at(-1)?.body === `${MAX_FRAME_BYTES} bytes`);
  known.send(head(MAX_FRAME_BYTES + 1));
  await until("cut off", () => known.isClosed);
  expect(cutOff.map(([reason]) => reason)).toEqual(["oversized", "oversized"]);
});

test("who says nothing, speaks a byte a second, stops after READY or gets no session is closed in time", async () => {
  const { router, clock, cutOff, withSession } = await listen();
  const silent = await RawPeer.bare(router.port);
  const slow = await RawPeer.bare(router.port);
  await arrivals(router, 2);
  let at = 0;
  const drip = async () => {
    slow.send(GREETING.subarray(at, at + 1));
    at += 1;
    return Promise.resolve();
  };
  await clock.pass(DEADLINES.ready, drip);
  expect([silent.isClosed, slow.isClosed]).toEqual([false, false]);
  await clock.pass(1, drip);
  await until("both", () => silent.isClosed && slow.isClosed);

  const known = await withSession();
  const mute = await RawPeer.connect(router.port);
  const refused = await RawPeer.connect(router.port);
  refused.send(message(Buffer.from("hello")));
  const alive = async () => {
    const peers = [known, mute, refused].filter(({ isClosed }) => !isClosed);
    for (const peer of peers) peer.send(PING);
    const answered = peers.map(({ received }) => received.length);
    return until("answered", () => peers.every((one, n) => one.isClosed || one.received.length > (answered[n] ?? 0)));
  };
  await clock.pass(DEADLINES.firstMessage, alive);
  expect(mute.isClosed).toBe(false);
  await clock.pass(1, alive);
  await until("closed", () => mute.isClosed);
  await clock.pass(DEADLINES.session - DEADLINES.firstMessage, alive);
  await until("closed", () => refused.isClosed);
  await clock.pass(100, alive);
  expect(known.isClosed).toBe(false);
  expect(cutOff).toEqual(Array.from({ length: 4 }, () => ["too-slow", "127.0.0.1"]));
});

test("a known peer that begins a message and drips it is cut off too", async () => {
  const { clock, cutOff, withSession } = await listen();
  const [peer, other] = [await withSession(), await withSession()];
  peer.send(head(1000));
  const drip = async () => {
    peer.send(Buffer.alloc(1));
    const before = other.received.length;
    other.send(PING);
    return until("answered", () => other.received.length > before);
  };
  await clock.pass(DEADLINES.message + 10, drip);
  await until("cut off", () => peer.isClosed);
  expect(cutOff).toEqual([["too-slow", "127.0.0.1"]]);
});

test("a dead peer is asked after five silent seconds and given up after seven; a live one answers and stays", async () => {
  const { router, clock, gone, cutOff, withSession } = await listen();
  const dead = await withSession();
  const live = await withSession();
  const before = live.received.length;
  await clock.pass(DEADLINES.silent);
  await until("both were asked", () => live.received.length > before && dead.received.includes("PING"));
  live.send(Buffer.concat([Buffer.of(4, 5), Buffer.from("\u0004PONG")]));
  const keep = async () => {
    live.send(PING);
    return until("answered", () => live.received.includes("PONG"));
  };
  await clock.pass(DEADLINES.dead - DEADLINES.silent + 1, keep);
  await until("given up", () => dead.isClosed);
  expect(live.isClosed).toBe(false);
  expect([gone.length, cutOff.length, router.connections().sessions]).toEqual([1, 0, 1]);
});

test("a peer that does not read gets so much and no more, holds up nobody, and is cut off", async () => {
  const { router, clock, frames, cutOff, withSession } = await listen();
  const stuck = await withSession();
  stuck.pause();
  const { route = Buffer.alloc(0) } = frames[0] ?? {};
  const body = Buffer.alloc(1024 * 1024);
  let sent = 0;
  while (router.send(route, body)) sent += 1;
  expect(sent).toBeGreaterThan(8);
  expect(sent).toBeLessThan(32);
  const other = await withSession();
  other.send(PING);
  await until("answered", () => other.received.includes("PONG"));
  // the kernel may still take some for a while, which is progress; not for ever
  for (let round = 0; round < 10 && cutOff.length === 0; round += 1) {
    await clock.pass(DEADLINES.stuck + 2, async () => {
      const [answers, words] = [other.received.length, frames.length];
      other.send(PING);
      // it gets no PONG: what it says has come when the frame has, or by seconds that pass quicker it would be taken for dead
      stuck.send(message(Buffer.from("I speak")));
      return until(
        "both were heard",
        () => cutOff.length > 0 || (other.received.length > answers && frames.length > words),
      );
    });
  }
  await until("cut off", () => cutOff.length > 0);
  expect(cutOff).toEqual([["not-reading", "127.0.0.1"]]);
  expect(router.send(route, body)).toBe(false);
});

test("lesson: any number of idle connections, from many addresses, leaves room for whoever comes to speak", async () => {
  const { router, cutOff, withSession, frames } = await listen({ all: 50, strangers: 40, strangersOfNetwork: 10 });
  const known = await withSession("127.0.0.9");
  const idle: RawPeer[] = [];
  for (let n = 0; n < 300; n += 1) idle.push(await RawPeer.bare(router.port, `127.0.${n % 20}.${n % 7}`));
  await until("most were sent away", () => idle.filter(({ isClosed }) => isClosed).length >= 260);
  const { sessions, strangers } = router.connections();
  expect([sessions, strangers <= 40]).toEqual([1, true]);
  const honest = await withSession("127.0.0.10");
  expect([known.isClosed, honest.isClosed]).toEqual([false, false]);
  expect(frames.map(({ body }) => body)).toEqual(["session", "session"]);
  expect(new Set(cutOff.map(([reason]) => reason))).toEqual(new Set(["turned-away"]));
});

test("what is sent before an end still arrives, and then the connection closes, whatever the peer does", async () => {
  const { router, clock, frames, gone, withSession } = await listen();
  const peer = await withSession();
  const { route = Buffer.alloc(0) } = frames[0] ?? {};
  expect(router.send(route, Buffer.from("farewell"))).toBe(true);
  router.end(route);
  peer.send(message(Buffer.from("too late")));
  await until("closed", () => peer.isClosed);
  expect(peer.received.includes("farewell")).toBe(true);
  await until("gone", () => gone.length === 1);
  expect(frames).toHaveLength(1);
  expect(router.send(route, Buffer.from("more"))).toBe(false);
  expect(router.addressOf(route)).toBeUndefined();
  await clock.pass(1);
});

test("frames come and go whole in both directions, many in one piece, also to libzmq's own DEALER", async () => {
  const { router, frames } = await listen();
  const peer = await RawPeer.bare(router.port);
  const words = Array.from({ length: 50 }, (_, n) => `word ${n}`);
  peer.send(GREETING, READY, ...words.map((word) => message(Buffer.from(word))));
  await until("all", () => frames.length === 50);
  expect(frames.map(({ body }) => body)).toEqual(words);
  const dealer = new Attacker(router.port);
  await dealer.send(Buffer.from("from libzmq"));
  await until("it came", () => frames.length === 51);
  const { route = Buffer.alloc(0), body } = frames.at(-1) ?? {};
  expect(body).toBe("from libzmq");
  router.settle(route);
  const sizes = [0, 1, 255, 256, 100_000];
  for (const size of sizes) router.send(route, Buffer.alloc(size, 1));
  const answers: number[] = [];
  for (const _ of sizes) answers.push((await dealer.receive()).length);
  expect(answers).toEqual(sizes);
});

test("routes differ, also those of connections that are gone", async () => {
  const { router, frames, withSession } = await listen();
  (await withSession()).close();
  await until("gone", () => router.connections().sessions === 0);
  await withSession();
  expect(frames[0]?.route.equals(frames[1]?.route ?? Buffer.alloc(0))).toBe(false);
});
