import { assert, integer, property, string } from "fast-check";
import { expect, test } from "vitest";
import { columnsOf, cutToColumns } from "../../../src/cli/format/columns.ts";
import { startProgress } from "../../../src/cli/progress.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";

test.each([
  ["web1", 4],
  ["数据库", 6],
  ["データ", 6],
  ["한국", 4],
  ["é", 1],
  ["e\u0301", 1],
  ["🔑", 2],
  ["ＡＢ", 4],
  ["ä→…", 3],
])("%j takes %i columns", (text, columns) => {
  expect(columnsOf(text)).toBe(columns);
});

test.each([
  ["web1", 4, "web1"],
  ["web10", 4, "web…"],
  ["数据库", 5, "数据…"],
  ["数据库", 4, "数…"],
  ["🔑🔑", 3, "🔑…"],
])("%j in %i columns is %j", (text, columns, cut) => {
  expect(cutToColumns(text, columns)).toBe(cut);
});

test("whatever the text, it fits", () => {
  assert(
    property(string({ unit: "grapheme" }), integer({ min: 1, max: 20 }), (text, columns) => {
      expect(columnsOf(cutToColumns(text, columns))).toBeLessThanOrEqual(columns);
    }),
  );
});

test("a progress line with wide characters stays on one line of the terminal", () => {
  const lines: string[] = [];
  const terminal = { errIsTerminal: true, columns: () => 40, warn: (text: string) => lines.push(text) } as object;
  const progress = startProgress(terminal as Terminal, 1, () => 1000);
  progress.host("web1", "数据库".repeat(20));
  progress.stop();
  const drawn = lines.map((line) => line.replace("\r\u001b[K", ""));
  expect(drawn.some((line) => line.includes("数"))).toBe(true);
  expect(Math.max(...drawn.map(columnsOf))).toBeLessThan(40);
});
