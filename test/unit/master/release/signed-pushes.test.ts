import { writeFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { openGate } from "./gate-rig.ts";

type Gate = Awaited<ReturnType<typeof openGate>>;
let gate: Gate | undefined;
afterEach(() => gate?.close());

const BROKEN = "rules: [{ nmae: x }]\n";
const text = (signed: boolean) => JSON.stringify({ signed_pushes: signed, rules: [] });
const highstate = {
  target: { kind: "glob" as const, expr: "*" },
  fun: "state.highstate",
  args: [],
  kwargs: {},
  timeoutMs: 1000,
};
const prove = async (one: Gate, fun = highstate.fun) => {
  try {
    await one.room.pushes.prove({ ...highstate, fun });
    return "taken";
  } catch (error) {
    return (error as { code?: string }).code;
  }
};

test.each([
  ["wanted them signed", true, "unsigned-push"],
  ["did not", false, "taken"],
])("while the policy cannot be read, what it last said holds: it %s", async (_title, signed, outcome) => {
  gate = await openGate(text(signed));
  expect(await prove(gate)).toBe(outcome);
  writeFileSync(gate.room.policy.path, BROKEN);
  expect((await gate.room.policy.current()).kind).toBe("broken");
  expect(await prove(gate)).toBe(outcome);
  expect(await prove(gate, "test.ping")).toBe("taken");
});

test("a master that never read a policy that it could use takes no unsigned push but one that looks", async () => {
  gate = await openGate(BROKEN);
  expect(await prove(gate)).toBe("unsigned-push");
  expect(await prove(gate, "test.ping")).toBe("taken");
  writeFileSync(gate.room.policy.path, text(false));
  expect(await prove(gate)).toBe("taken");
});
