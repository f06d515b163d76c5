import { expect, test } from "vitest";
import { MAX_UNCLAIMED_ADDRESSES, UNCLAIMED_ADDRESS_MS } from "../../../src/wire/limits.ts";
import { PeerAddresses } from "../../../src/wire/peer-addresses.ts";

const route = (index: number) => index.toString(16).padStart(32, "0");

function setUp() {
  let now = 5000;
  const addresses = new PeerAddresses({
    now: () => now,
    monotonicMs: () => now,
    sleep: async () => Promise.resolve(),
  });
  const pass = (ms: number) => {
    now += ms;
  };
  return { addresses, pass };
}

test.each([
  ["192.0.2.7", "192.0.2.7"],
  ["::ffff:192.0.2.7", "192.0.2.7"],
  ["::FFFF:192.0.2.7", "192.0.2.7"],
  ["2001:db8::7", "2001:db8::7"],
  ["fe80::7%eth0", "fe80::7"],
])("%s is remembered as %s", (said, kept) => {
  const { addresses } = setUp();
  expect(addresses.connecting(route(1), said)).toBe(true);
  expect(addresses.of(route(1))).toBe(kept);
});

test("a route keeps its first address while it is fresh, and while it has a session however long", () => {
  const { addresses, pass } = setUp();
  addresses.connecting(route(1), "192.0.2.1");
  expect(addresses.connecting(route(1), "192.0.2.2")).toBe(false);
  addresses.claim(route(1), addresses.of(route(1)));
  pass(UNCLAIMED_ADDRESS_MS * 100);
  expect(addresses.connecting(route(1), "192.0.2.2")).toBe(false);
  expect(addresses.of(route(1))).toBe("192.0.2.1");
  addresses.release(route(1));
  expect(addresses.of(route(1))).toBe("");
  expect(addresses.size).toBe(0);
});

test("who connects and gets no session is forgotten after a while", () => {
  const { addresses, pass } = setUp();
  addresses.connecting(route(1), "192.0.2.1");
  pass(UNCLAIMED_ADDRESS_MS - 1);
  addresses.connecting(route(2), "192.0.2.2");
  pass(1);
  addresses.expire();
  expect([addresses.of(route(1)), addresses.of(route(2))]).toEqual(["", "192.0.2.2"]);
});

test("a flood of connections costs bounded memory, and no session its address", () => {
  const { addresses } = setUp();
  addresses.connecting(route(0), "192.0.2.1");
  addresses.claim(route(0), "192.0.2.1");
  for (let index = 1; index <= MAX_UNCLAIMED_ADDRESSES + 10; index += 1) addresses.connecting(route(index), "::1");
  expect(addresses.size).toBe(MAX_UNCLAIMED_ADDRESSES + 1);
  expect(addresses.of(route(0))).toBe("192.0.2.1");
  expect(addresses.of(route(10))).toBe("");
});
