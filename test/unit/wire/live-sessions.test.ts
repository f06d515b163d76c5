import { beforeEach, expect, test } from "vitest";
import { TransportError } from "../../../src/core/errors.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { Channel } from "../../../src/wire/channel.ts";
import { decodeFrame } from "../../../src/wire/frames.ts";
import { CROWD_OF_MINION, MAX_SESSIONS_OF_MINION, IDLE_AFTER_MS } from "../../../src/wire/limits.ts";
import { LiveSession, type SessionHost } from "../../../src/wire/live-session.ts";
import { LiveSessions } from "../../../src/wire/live-sessions.ts";
import { decodeMasterPacket, encodeRequest } from "../../../src/wire/packets.ts";
import { RequestBudget } from "../../../src/wire/request-budget.ts";
import { Turns } from "../../../src/wire/turns.ts";
import { HandClock } from "../master/fakes.ts";

const peer = generateIdentity().public;
const route = Buffer.from("route");
let clock: HandClock;
let sessions: LiveSessions;
let host: SessionHost;
let next: number;
beforeEach(() => {
  clock = new HandClock();
  sessions = new LiveSessions();
  next = 0;
  host = {
    handlers: {
      holder: () => undefined,
      admit: async () => "accept",
      request: async () => Promise.reject(new Error("none")),
      opened,
      closed,
    },
    budget: new RequestBudget(clock),
    turns: new Turns(),
    now: () => clock.now(),
    monotonicMs: () => clock.monotonicMs(),
    send: async () => Promise.resolve(true),
    dropped: () => {},
    report: () => {},
    ended: (session) => sessions.remove(session),
  };
});
const opened = () => {};
const closed = () => {};

/** A session of web1, and its peer's word that it is there: an agent's first is a hello. */
function make() {
  next += 1;
  const wireId = String(next).padStart(16, "0");
  const key = () => Buffer.alloc(32, next);
  const channel = new Channel(wireId, { send: key(), receive: key() });
  const theirs = new Channel(wireId, { send: key(), receive: key() });
  const facts = { sessionId: next, minionId: "web1", peer, address: "", route, handshakeHash: Buffer.alloc(32) };
  const session = new LiveSession(host, { ...facts, channel });
  const speak = (role: "agent" | "call") => {
    const hello = { version: "1", bootId: "b", role, grains: {}, lastSeq: 0 };
    const frame = decodeFrame(theirs.seal(encodeRequest(1, "hello", hello)));
    if (typeof frame === "string" || frame.kind !== "data") throw new Error("no data frame");
    session.receive(route, frame);
  };
  return { session, speak };
}
function add() {
  const made = make();
  return { ...made, isIn: sessions.add(made.session) };
}
const live = () => sessions.of("web1").map(({ sessionId }) => sessionId);

test("sessions that speak all stay, however many more than the usual number they are", () => {
  const all = Array.from({ length: CROWD_OF_MINION + 4 }, add);
  expect(all.every(({ isIn }) => isIn)).toBe(true);
  expect(live()).toHaveLength(CROWD_OF_MINION + 4);
});

test("a further one ends the one that is silent for longest, if it is silent for long; never an agent's", () => {
  const agent = add();
  agent.speak("agent");
  const calls = Array.from({ length: CROWD_OF_MINION - 1 }, add);
  clock.time += 1000;
  for (const { speak } of calls.slice(0, 2)) speak("call");
  clock.time += IDLE_AFTER_MS;
  for (const { speak } of calls.slice(4)) speak("call");
  add();
  // the third has been silent since it began, as the fourth; the first two spoke since, the rest just now
  expect(live()).toEqual([1, 2, 3, 5, 6, 7, 8, 9]);
  add();
  expect(live()).toEqual([1, 2, 3, 6, 7, 8, 9, 10]);
  add();
  // exactly as silent as a session may be
  expect(live()).toEqual([1, 2, 3, 6, 7, 8, 9, 10, 11]);
});

test("beyond the hard bound a further one is turned away while all others speak", () => {
  const all = Array.from({ length: MAX_SESSIONS_OF_MINION }, add);
  expect(add().isIn).toBe(false);
  clock.time += IDLE_AFTER_MS + 1;
  for (const { speak } of all.slice(1)) speak("call");
  expect(add().isIn).toBe(true);
  expect(live()).toHaveLength(MAX_SESSIONS_OF_MINION);
  expect(live()).not.toContain(1);
});

/** Sends one request in a session of the minion, as its peer would, and tells what the master answered. */
function talker(minionId: string, request: SessionHost["handlers"]["request"], reports: string[] = []) {
  next += 1;
  const wireId = String(next).padStart(16, "0");
  const key = () => Buffer.alloc(32, next);
  const theirs = new Channel(wireId, { send: key(), receive: key() });
  const answers: unknown[] = [];
  const send = async (_route: Buffer, bytes: Uint8Array) => {
    const frame = decodeFrame(Buffer.from(bytes));
    if (typeof frame === "string" || frame.kind !== "data") throw new Error("no data frame");
    const plaintext = theirs.open(frame.counter, Buffer.from(frame.frame));
    if (typeof plaintext !== "string") answers.push(decodeMasterPacket(plaintext));
    return true;
  };
  const session = new LiveSession(
    { ...host, send, report: (text) => void reports.push(text), handlers: { ...host.handlers, request } },
    {
      sessionId: next,
      minionId,
      peer,
      address: "",
      route,
      handshakeHash: Buffer.alloc(32),
      channel: new Channel(wireId, { send: key(), receive: key() }),
    },
  );
  return { answers, ask: (id: number) => session.take(Buffer.from(encodeRequest(id, "files.list", {}))) };
}

test("a handler that says busy: so hears the minion, and no line is written", async () => {
  const reports: string[] = [];
  const { answers, ask } = talker("web1", async () => Promise.reject(new TransportError("busy", "too much")), reports);
  ask(7);
  await expect.poll(() => answers).toEqual([{ kind: "failure", id: 7, code: "busy" }]);
  expect(reports).toEqual([]);
});

test("lesson: 2023-20897 one host that asks without end has one request served for one of another, and busy for the rest", async () => {
  const turns: (() => void)[] = [];
  host = { ...host, turns: new Turns((turn) => void turns.push(turn)) };
  const served: string[] = [];
  const request: SessionHost["handlers"]["request"] = async ({ minionId }) => {
    served.push(minionId);
    throw new Error("none");
  };
  const [bad, good] = [talker("bad", request), talker("good", request)];
  for (let id = 1; id <= 1000; id += 1) bad.ask(id);
  good.ask(1);
  for (let count = 0; count < 2; count += 1) for (const turn of turns.splice(0)) turn();
  expect(served).toEqual(["bad", "bad", "good"]);
  await expect.poll(() => bad.answers.length).toBe(745);
  expect(bad.answers).toContainEqual({ kind: "failure", id: 1000, code: "busy" });
});
