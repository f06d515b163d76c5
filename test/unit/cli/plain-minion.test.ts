import { expect, test } from "vitest";
import { Interrupted, interruptedStatus } from "../../../src/cli/interrupted.ts";
import { plainMinion } from "../../../src/cli/plain-minion.ts";

test.each([
  [["minion"], { configPath: undefined }],
  [["minion", "-c", "/etc/a.yaml"], { configPath: "/etc/a.yaml" }],
  [["minion", "--config", "a.yaml"], { configPath: "a.yaml" }],
])("%j starts the minion without the command line", (args, start) => {
  expect(plainMinion(args)).toEqual(start);
});

test.each([
  [[]],
  [["master"]],
  [["minion", "--help"]],
  [["minion", "--config"]],
  [["minion", "--config", "--help"]],
  [["minion", "--config=a.yaml"]],
  [["minion", "-c", "a.yaml", "more"]],
  [["--socket", "x", "minion"]],
])("%j is for the command line", (args) => {
  expect(plainMinion(args)).toBeUndefined();
});

test("an interruption is known by its name, as the minion's bundle has a class of its own", () => {
  expect(interruptedStatus(new Interrupted("SIGTERM"))).toBe(143);
  expect(interruptedStatus(Object.assign(new Error("x"), { name: "Interrupted", exitStatus: 130 }))).toBe(130);
  expect(interruptedStatus(new Error("x"))).toBeUndefined();
  expect(interruptedStatus("SIGTERM")).toBeUndefined();
});
