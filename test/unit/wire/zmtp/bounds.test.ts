import { expect, test } from "vitest";
import { boundsFor, descriptorLimit } from "../../../../src/wire/zmtp/descriptors.ts";
import { heaviest, MAX_HELD_BYTES } from "../../../../src/wire/zmtp/heaviest.ts";
import { networkOf, plainAddress } from "../../../../src/wire/zmtp/peer-address.ts";

test.each([
  ["192.0.2.7", "192.0.2.7", "192.0.2.7"],
  ["::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"],
  ["::FFFF:192.0.2.7", "192.0.2.7", "192.0.2.7"],
  ["2001:db8::7", "2001:db8::7", "2001:db8:0:0::/64"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2::", "2001:db8:1:2::", "2001:db8:1:2::/64"],
  ["fe80::7%eth0", "fe80::7", "fe80:0:0:0::/64"],
  ["::1", "::1", "0:0:0:0::/64"],
])("the kernel's %s is %s, of %s", (said, plain, network) => {
  expect(plainAddress(said)).toBe(plain);
  expect(networkOf(plain)).toBe(network);
});

test.each([
  [65_536, { all: 65_280, strangers: 8192, strangersOfNetwork: 1024 }],
  [1024, { all: 768, strangers: 768, strangersOfNetwork: 96 }],
  [160, { all: 80, strangers: 80, strangersOfNetwork: 10 }],
  [1, { all: 1, strangers: 1, strangersOfNetwork: 1 }],
])("with %i descriptors some are always kept back", (limit, bounds) => {
  expect(boundsFor(limit)).toEqual(bounds);
});

test("the limit of this process is a number", () => {
  expect(descriptorLimit()).toBeGreaterThan(64);
});

test("too much held: the heaviest of the heaviest network leaves, an honest host with one large message stays", () => {
  const mega = 1024 * 1024;
  const honest = { address: "192.0.2.1", heldBytes: 8 * mega };
  const others = Array.from({ length: 30 }, (_, n) => ({ address: "198.51.100.1", heldBytes: 4 * mega + n * 1024 }));
  expect(heaviest([honest, ...others.slice(0, 29)])).toEqual([]);
  const leaving = heaviest([honest, ...others, { address: "198.51.100.1", heldBytes: 7 * mega }]);
  expect(leaving[0]?.heldBytes).toBe(7 * mega);
  expect(leaving).not.toContain(honest);
  const left = [honest, ...others].filter((one) => !leaving.includes(one));
  expect(left.reduce((sum, { heldBytes }) => sum + heldBytes, 0)).toBeLessThanOrEqual(MAX_HELD_BYTES);
});
