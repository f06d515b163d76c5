import { expect, test } from "vitest";
import type { Json, JsonObject } from "../../../src/core/json.ts";
import { decodeMsgpack, encodeMsgpack } from "../../../src/wire/msgpack.ts";
import { boundedReturn } from "../../../src/minion/bounded-return.ts";

const MIB = 1024 * 1024;
const entryOf = (data: Json, fun = "state.apply") => ({
  jid: "20261122160000000001",
  fun,
  success: false,
  retcode: 2,
  startedAt: 1,
  finishedAt: 2,
  startup: false,
  data,
});
const row = (result: boolean, more: JsonObject): JsonObject => ({ result, changes: {}, comment: "", ...more });

test("I8: in a return that is too large long texts are cut and say so; every row, verdict and exit code stay", () => {
  const big = "x".repeat(4 * MIB);
  const data = {
    "cmd_|-a_|-a_|-run": row(true, { changes: { stdout: big } }),
    "cmd_|-b_|-b_|-run": row(false, { comment: big }),
    "cmd_|-c_|-c_|-run": row(true, { comment: "short" }),
  };
  const entry = entryOf(data);
  const bounded = boundedReturn(entry);
  expect(Buffer.byteLength(JSON.stringify(bounded))).toBeLessThan(6 * MIB);
  const cut = expect.stringMatching(/^x+\n\[shortened: \d+ of 4194304 characters are left out\]$/u);
  expect(bounded).toEqual({
    ...entry,
    data: {
      "cmd_|-a_|-a_|-run": row(true, { changes: { stdout: cut } }),
      "cmd_|-b_|-b_|-run": row(false, { comment: cut }),
      "cmd_|-c_|-c_|-run": row(true, { comment: "short" }),
    },
  });
});

test("I8: rows with too much besides texts keep their results alone; what is no state run is one sentence", () => {
  const wide = Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`${"k".repeat(1000)}${at}`, at]));
  const rows = Object.fromEntries(
    Array.from({ length: 200 }, (_, n) => [`cmd_|-${n}_|-x_|-run`, row(n % 2 === 0, { changes: wide })]),
  );
  const bounded = boundedReturn(entryOf(rows)).data;
  expect(Object.keys(bounded as JsonObject)).toHaveLength(200);
  expect(bounded).toMatchObject({ "cmd_|-1_|-x_|-run": { result: false, changes: {} } });
  expect(boundedReturn(entryOf(rows, "test.echo")).data).toMatch(/^the return has \d+ bytes/u);
  const small = entryOf({ a: "x".repeat(5 * MIB) });
  expect(boundedReturn(small)).toBe(small);
});

test("I8: a return of more items than a message may have keeps its rows, or says why nothing of it is sent", () => {
  const many = Array.from({ length: 300_000 }, (_, at) => at);
  const rows = { "cmd_|-a_|-a_|-run": row(false, { changes: { many } }), "cmd_|-b_|-b_|-run": row(true, {}) };
  expect(boundedReturn(entryOf(rows)).data).toMatchObject({
    "cmd_|-a_|-a_|-run": { result: false, changes: {} },
    "cmd_|-b_|-b_|-run": { result: true },
  });
  expect(boundedReturn(entryOf(many, "test.echo")).data).toMatch(/^the return has 300001 items/u);
});

test("I8: what no master takes is left out of a return, which says so, in place of being refused for ever", () => {
  let deep: Json = "bottom";
  for (let depth = 0; depth < 20_000; depth += 1) deep = depth % 2 === 0 ? [deep] : { deep };
  const row0 = row(true, { changes: { deep, good: 1, ...(JSON.parse('{"__proto__":{"evil":1}}') as JsonObject) } });
  const { data } = boundedReturn(entryOf({ "cmd_|-a_|-a_|-run": row0, "cmd_|-b_|-b_|-run": row(false, {}) }));
  const text = JSON.stringify(data);
  expect(text).toContain('"[shortened: nested too deep]"');
  expect(text).not.toContain("evil");
  expect(data).toMatchObject({ "cmd_|-a_|-a_|-run": { changes: { good: 1 } }, "cmd_|-b_|-b_|-run": row(false, {}) });
  const frame = encodeMsgpack([1, "return", entryOf(data)]);
  expect(decodeMsgpack(frame)).toMatchObject([1, "return", { success: false, retcode: 2 }]);
});
