import { afterEach, expect, test, vi } from "vitest";
import { ExpressionThread } from "../../../../src/master/policy/expression-thread.ts";
import { openGate } from "./gate-rig.ts";

type Gate = Awaited<ReturnType<typeof openGate>>;
let gate: Gate | undefined;
afterEach(() => {
  gate?.close();
  vi.restoreAllMocks();
});

const WAIT = { timeout: 20_000, interval: 10 };
/** A host's claims that three nested macros look at for hours. */
const MANY = Object.fromEntries(Array.from({ length: 250 }, (_, n) => [`g${n}`, n]));
const NESTED =
  "instance.grains.all(a, instance.grains.all(b, instance.grains.all(c, instance.grains.all(d, d != a + b + c))))";
const rules = (validator: string) => ({
  rules: [
    { name: "no", match: { hosts: "bad", validator }, verdict: "deny" },
    { name: "maybe", match: { hosts: "weak", validator } },
    { name: "rest", match: { hosts: "good", validator: 'instance.name == "good" && request.leasesThisBoot < 2' } },
  ],
});

test("an expression without an end denies where its rule denies, opens nothing, is on record, and holds up no other host", async () => {
  gate = await openGate(JSON.stringify(rules(NESTED)), MANY);
  const one = gate;
  const [bad, weak, good] = await Promise.all(["bad", "weak", "good"].map(async (id) => one.ask({ id })));
  expect(bad).toBe("deny rule validator-failed");
  expect(weak).toBe("deny no-rule validator-failed");
  expect(good).toBe("allow");
  // within its half minute the host gets no answer, and nothing more is ended
  expect(await one.ask({ id: "bad" })).toBe("deny rule validator-failed");
  await expect.poll(async () => (await one.audited("expression-ended")).length, WAIT).toBe(2);
  const ended = await one.audited("expression-ended");
  expect(ended.map(({ subject }) => subject).toSorted()).toEqual(["bad", "weak"]);
  expect(ended[0]?.data).toMatchObject({ expressions: [NESTED] });
});

test("a pattern over a long claim is as quick as its length: no expression is ended", async () => {
  gate = await openGate(JSON.stringify(rules('instance.grains.q.matches("^(a|a)*b$")')), { q: `${"a".repeat(1000)}!` });
  expect(await gate.ask({ id: "bad" })).toBe("deny no-rule");
  gate.close();
  gate = await openGate(JSON.stringify(rules('instance.grains.q.matches("^(a|a)*b$")')), { q: "a".repeat(60_000) });
  expect(await gate.ask({ id: "bad" })).toBe("deny rule validator-failed");
  expect(await gate.audited("expression-ended")).toEqual([]);
});

test("what changes while expressions are evaluated counts: releases, and a revocation", async () => {
  gate = await openGate(JSON.stringify(rules("true")));
  const one = gate;
  const asked = await Promise.all(Array.from({ length: 5 }, async () => one.ask({ id: "good" })));
  expect(asked.filter((verdict) => verdict === "allow")).toHaveLength(2);
  one.heard.boot = "B";
  const waiting = one.ask({ id: "good", bootId: "B" });
  await one.room.revoke("good", null);
  expect(await waiting).toBe("deny revoked");
});

test("a policy without expressions starts no thread and asks none", async () => {
  const start = vi.spyOn(ExpressionThread.prototype, "start");
  const evaluate = vi.spyOn(ExpressionThread.prototype, "evaluate");
  gate = await openGate(JSON.stringify({ rules: [{ name: "all", match: { hosts: "*" } }] }));
  expect(await gate.ask()).toBe("allow");
  expect(start).not.toHaveBeenCalled();
  expect(evaluate).not.toHaveBeenCalled();
});
