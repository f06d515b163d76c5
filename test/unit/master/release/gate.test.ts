import { readFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { openGate } from "./gate-rig.ts";

type Gate = Awaited<ReturnType<typeof openGate>>;
let gate: Gate | undefined;
afterEach(() => gate?.close());

async function open(policy: object | string): Promise<Gate> {
  gate = await openGate(typeof policy === "string" ? policy : JSON.stringify(policy));
  return gate;
}
const example = () => readFileSync(new URL("../../../../examples/release.yaml", import.meta.url), "utf8");

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const NOON = Date.parse("2026-01-07T11:00:00Z");
const ABROAD = "198.51.100.7";

/** A host of the worked policy that was provisioned and opened in boot A, and then was away for a week. */
async function stolen(): Promise<Gate> {
  const one = await open(example());
  one.clock.time = NOON;
  one.room.liveness.heard("storage-1");
  expect(await one.ask({ purpose: "format", makesKey: true })).toBe("allow");
  expect(await one.ask()).toBe("allow");
  one.clock.time += 7 * DAY_MS;
  one.room.liveness.heard("storage-1");
  return one;
}

test.each(["format", "check", "rotate", "grow", "recovery"] as const)(
  "the worked policy: a host that was away gets no key to %s either, and that opens nothing",
  async (purpose) => {
    const one = await stolen();
    expect(await one.ask({ bootId: "B" })).toBe("hold unannounced-reboot liveness");
    for (const address of [ABROAD, "10.20.3.4"]) {
      expect(await one.ask({ purpose, bootId: "B", address })).toMatch(/^deny|^hold .*as-open/u);
      expect(await one.ask({ bootId: "B" })).toBe("hold unannounced-reboot liveness");
    }
  },
);

test("the worked policy: keys are tested in the boot that opened with them, also right before an announced reboot", async () => {
  const one = await open(example());
  one.clock.time = NOON;
  one.room.liveness.heard("storage-1");
  expect(await one.ask({ purpose: "format", makesKey: true })).toBe("allow");
  expect(await one.ask()).toBe("allow");
  await one.announce();
  expect(await one.ask({ purpose: "check" })).toBe("allow");
  expect(await one.ask({ bootId: "B" })).toBe("allow");
  expect(await one.ask({ bootId: "B", purpose: "check" })).toBe("allow");
  expect(await one.ask({ bootId: "C" })).toBe("hold unannounced-reboot");
});

const WATCHED = { announced_reboot: true, liveness: "10m" };

test("a purpose with a rule of its own is no way around the rule for open", async () => {
  const one = await open({
    rules: [
      { name: "checks", match: { purposes: ["check"] } },
      { name: "opens", match: { purposes: ["open"], networks: ["10.0.0.0/8"] }, require: WATCHED },
    ],
  });
  one.room.liveness.heard("storage-1");
  expect(await one.ask()).toBe("allow");
  // what is open may be tested as often as the rule for that lets it
  for (let n = 0; n < 3; n += 1) expect(await one.ask({ purpose: "check" })).toBe("allow");
  expect(await one.ask({ purpose: "check", address: ABROAD })).toBe("deny rule as-open no-rule");
  one.clock.time += DAY_MS;
  for (let n = 0; n < 2; n += 1) {
    expect(await one.ask({ purpose: "check", bootId: "B" })).toBe("hold rule as-open unannounced-reboot liveness");
    expect(await one.ask({ bootId: "B" })).toBe("hold unannounced-reboot liveness");
  }
});

test("a release under a rule that asks for less settles nothing for one that asks for more", async () => {
  const one = await open({
    rules: [
      { name: "inside", match: { networks: ["10.0.0.0/8"] }, require: WATCHED },
      { name: "outside", require: { liveness: "30d" } },
    ],
  });
  one.room.liveness.heard("storage-1");
  expect(await one.ask()).toBe("allow");
  one.clock.time += DAY_MS;
  expect(await one.ask({ bootId: "B", address: ABROAD })).toBe("allow");
  one.room.liveness.heard("storage-1");
  one.clock.time += MINUTE_MS;
  expect(await one.ask({ bootId: "B" })).toBe("hold unannounced-reboot liveness");
  // and the boot before is not the host's any more
  expect(await one.ask({ bootId: "A" })).toBe("hold unannounced-reboot liveness");
});

test("people who let a hold pass settle what it was for, and nothing else", async () => {
  const one = await open({
    rules: [
      { name: "inside", match: { networks: ["10.0.0.0/8"] }, require: WATCHED },
      { name: "outside", verdict: "hold" },
    ],
  });
  const approve = async () => {
    const [hold] = one.room.holds.list();
    if (!hold) throw new Error("nothing is held");
    const { holdId, id: minion, path: secret, purpose, device, address, bootId, reasonsHash: reasons } = hold;
    const about = { hold: holdId, minion, secret, purpose, device, address, bootId, reasons, operator: "root" };
    const expires = one.clock.now() + MINUTE_MS;
    await one.room.approve({ what: "approve", master: "SHA256:master", expires, ...about }, undefined);
  };
  one.room.liveness.heard("storage-1");
  expect(await one.ask()).toBe("allow");
  one.clock.time += DAY_MS;
  expect(await one.ask({ bootId: "B", address: ABROAD })).toBe("hold rule");
  await approve();
  expect(await one.ask({ bootId: "B", address: ABROAD })).toBe("allow");
  expect(await one.ask({ bootId: "B" })).toBe("hold unannounced-reboot liveness");
  await approve();
  expect(await one.ask({ bootId: "B" })).toBe("allow");
  expect(await one.ask({ bootId: "B" })).toBe("allow");
});

test("a format that makes the key is decided by the rules for formats alone, one of a key that exists is not", async () => {
  const one = await open({
    rules: [
      { name: "new", match: { purposes: ["format"] } },
      { name: "two", match: { purposes: ["open"] }, require: { once_a_boot: true }, lift: { count: 2 } },
    ],
  });
  expect(await one.ask({ purpose: "format", makesKey: true })).toBe("allow");
  // a format that was cut short, in the same boot
  expect(await one.ask({ purpose: "format" })).toBe("allow");
  expect(await one.ask()).toBe("allow");
  expect(await one.ask({ purpose: "format" })).toBe("hold rule as-open once-a-boot");
});

test("a reboot that was announced is not used up by a lease before it, and is good for one boot", async () => {
  const one = await open({ rules: [{ name: "all", require: { announced_reboot: true } }] });
  expect(await one.ask({ bootId: "A" })).toBe("allow");
  await one.announce();
  expect(await one.ask({ bootId: "A", purpose: "check" })).toBe("allow");
  expect(await one.ask({ bootId: "B" })).toBe("allow");
  expect(await one.ask({ bootId: "C" })).toBe("hold unannounced-reboot");
});

test("a reboot cannot be announced after it", async () => {
  const one = await open({ rules: [{ name: "all", require: { announced_reboot: true } }] });
  expect(await one.ask({ bootId: "A" })).toBe("allow");
  one.heard.boot = "B";
  expect(await one.ask({ bootId: "B" })).toBe("hold unannounced-reboot");
  await one.announce();
  expect(await one.ask({ bootId: "B" })).toBe("hold unannounced-reboot");
});

test("a reboot that was announced when nobody knew the host's boot may have been before: it covers none", async () => {
  const one = await open({ rules: [{ name: "all", require: { announced_reboot: true } }] });
  expect(await one.ask({ bootId: "A" })).toBe("allow");
  one.heard.boot = "";
  await one.announce();
  expect(await one.ask({ bootId: "A", purpose: "check" })).toBe("allow");
  expect(await one.ask({ bootId: "B" })).toBe("hold unannounced-reboot-unknown");
});

test("once a boot: a boot that comes back is known", async () => {
  const one = await open({ rules: [{ name: "once", require: { once_a_boot: true } }] });
  expect(await one.ask({ bootId: "A" })).toBe("allow");
  expect(await one.ask({ bootId: "B" })).toBe("allow");
  expect(await one.ask({ bootId: "A" })).toBe("hold once-a-boot");
});

test("a host that does not say which boot it is in is held where the boot counts", async () => {
  const one = await open({
    rules: [{ name: "all", require: { announced_reboot: true, once_a_boot: true, liveness: "10m" } }],
  });
  expect(await one.ask({ bootId: "A" })).toBe("allow");
  // a boot that nobody has heard of when it was announced may be the one that it was announced in
  expect(await one.ask({ bootId: "" })).toBe("hold once-a-boot-unknown unannounced-reboot-unknown liveness-unknown");
  await one.announce();
  expect(await one.ask({ bootId: "" })).toBe("hold once-a-boot-unknown unannounced-reboot-unknown liveness-unknown");
});

test("a host whose silence nobody knows is held where silence counts, and people settle it", async () => {
  const one = await open({ rules: [{ name: "all", require: { liveness: "10m" } }] });
  expect(await one.ask()).toBe("allow");
  expect(await one.ask()).toBe("hold liveness-unknown");
  one.room.liveness.heard("storage-1");
  expect(await one.ask()).toBe("allow");
});

test("the rules for networks hold and deny where the address cannot be told", async () => {
  const one = await open({
    rules: [{ name: "no", match: { networks: ["10.9.0.0/16"] }, verdict: "deny" }, { name: "rest" }],
  });
  expect(await one.ask({ address: "10.20.3.4" })).toBe("allow");
  expect(await one.ask({ address: "" })).toBe("deny rule network-unknown");
  expect(await one.ask({ address: "::ffff:a09:1%eth0" })).toBe("deny rule");
});
