import * as fc from "fast-check";
import { expect, test } from "vitest";
import { generateIdentity } from "../../../src/core/identity.ts";
import type { Opening } from "../../../src/wire/frames.ts";
import { OpeningCookies } from "../../../src/wire/opening-cookie.ts";
import { MAX_UNKNOWN_WAITING, networkOf, OpeningLanes } from "../../../src/wire/opening-lanes.ts";
import { noTicket, OpeningTickets } from "../../../src/wire/opening-ticket.ts";
import { HandClock } from "../master/fakes.ts";

const NONE = Buffer.alloc(0);
const opening = (more: Partial<Opening> = {}): Opening => ({
  kind: "xx1",
  minionId: "web1",
  ticket: NONE,
  cookie: NONE,
  noise: Buffer.alloc(32, 1),
  ...more,
});

test("a cookie is good for this very opening from this address, for a minute or two", () => {
  const clock = new HandClock();
  const cookies = new OpeningCookies(clock);
  const cookie = cookies.make("192.0.2.1", opening());
  const check = (address: string, more: Partial<Opening> = {}) => cookies.check(address, opening({ cookie, ...more }));
  expect(check("192.0.2.1")).toBe(true);
  expect(check("192.0.2.2")).toBe(false);
  expect(check("192.0.2.1", { minionId: "web2" })).toBe(false);
  expect(check("192.0.2.1", { kind: "ik1" })).toBe(false);
  expect(check("192.0.2.1", { noise: Buffer.alloc(32, 2) })).toBe(false);
  expect(check("192.0.2.1", { cookie: NONE })).toBe(false);
  expect(check("192.0.2.1", { cookie: Buffer.alloc(16) })).toBe(false);
  expect(new OpeningCookies(clock).check("192.0.2.1", opening({ cookie }))).toBe(false);
  clock.time += 60_000;
  expect(check("192.0.2.1")).toBe(true);
  clock.time += 60_000;
  expect(check("192.0.2.1")).toBe(false);
});

test("a key for cookies that nobody asked for in a long time takes none of them any more", () => {
  const clock = new HandClock();
  const cookies = new OpeningCookies(clock);
  const cookie = cookies.make("", opening());
  clock.time += 3_600_000;
  expect(cookies.check("", opening({ cookie }))).toBe(false);
});

test("a ticket is good for its id and keys alone, two weeks long, also after a restart of the master", () => {
  const clock = new HandClock();
  const master = generateIdentity();
  const [one, two] = [generateIdentity().public, generateIdentity().public];
  const ticket = new OpeningTickets(master, clock).issue("web1", one);
  const again = new OpeningTickets(master, clock);
  expect(again.check(ticket, "web1", one)).toBe(true);
  expect(again.check(ticket, "web2", one)).toBe(false);
  expect(again.check(ticket, "web1", two)).toBe(false);
  // the key was rejected or deleted
  expect(again.check(ticket, "web1", undefined)).toBe(false);
  expect(again.check(noTicket(), "web1", one)).toBe(false);
  expect(again.check(NONE, "web1", one)).toBe(false);
  expect(new OpeningTickets(generateIdentity(), clock).check(ticket, "web1", one)).toBe(false);
  clock.time += 14 * 86_400_000;
  expect(again.check(ticket, "web1", one)).toBe(true);
  clock.time += 1000;
  expect(again.check(ticket, "web1", one)).toBe(false);
  clock.time -= 15 * 86_400_000;
  expect(again.check(ticket, "web1", one)).toBe(false);
});

test("known hosts go first, eight to one of the others", () => {
  const lanes = new OpeningLanes<string>(new HandClock());
  for (let n = 0; n < 20; n += 1) {
    lanes.addKnown(`k${n}`);
    lanes.addUnknown("192.0.2.1", `u${n}`);
  }
  const order = Array.from({ length: 27 }, () => lanes.take(true)?.value);
  expect(order.filter((name) => name?.startsWith("u"))).toEqual(["u0", "u1", "u2", "u3", "u4", "u5", "u6"]);
  expect(order.indexOf("u0")).toBe(8);
  expect(lanes.take(false)).toBeUndefined();
  expect(lanes.unknown).toBe(13);
});

test("networks take turns: a flood from one of them costs the others one place in the row", () => {
  const lanes = new OpeningLanes<string>(new HandClock());
  for (let n = 0; n < 100; n += 1) lanes.addUnknown("198.51.100.1", "flood");
  lanes.addUnknown("192.0.2.1", "honest");
  expect([lanes.take(true)?.value, lanes.take(true)?.value]).toEqual(["flood", "honest"]);
  expect(lanes.unknown).toBe(63);
});

test("a full lane makes room for a network with less by what the fullest has too much", () => {
  const lanes = new OpeningLanes<string>(new HandClock());
  for (let network = 0; network < 40; network += 1) {
    for (let n = 0; n < 64; n += 1) lanes.addUnknown(`10.0.0.${network}`, "flood");
  }
  expect(lanes.unknown).toBe(MAX_UNKNOWN_WAITING);
  expect(lanes.addUnknown("10.0.0.1", "flood")).toBe(false);
  expect(lanes.addUnknown("192.0.2.1", "honest")).toBe(true);
  expect(lanes.unknown).toBe(MAX_UNKNOWN_WAITING);
  const first = Array.from({ length: 41 }, () => lanes.take(true)?.value);
  expect(first).toContain("honest");
});

test("an opening whose peer has given up is not served", () => {
  const clock = new HandClock();
  const lanes = new OpeningLanes<string>(clock);
  lanes.addUnknown("192.0.2.1", "old");
  lanes.addKnown("old");
  clock.time += 10_001;
  lanes.addUnknown("192.0.2.1", "new");
  expect(lanes.waitedMs).toBe(10_001);
  expect(lanes.take(true)?.value).toBe("new");
  expect(lanes.take(true)).toBeUndefined();
});

test.each([
  ["192.0.2.7", "192.0.2.7"],
  ["", ""],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:db8::1", "2001:db8:0:0"],
  ["2001:db8:1:2::", "2001:db8:1:2"],
  ["::1", "0:0:0:0"],
])("of %j a subscriber has the network %j", (address, network) => {
  expect(networkOf(address)).toBe(network);
});

test("no string breaks it", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(networkOf(text).split(":").length).toBeLessThanOrEqual(4);
    }),
  );
});
