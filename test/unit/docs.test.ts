import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { masterConfigSchema } from "../../src/master/config.ts";
import { minionFileSchema } from "../../src/minion/config.ts";

const read = (name: string) => readFileSync(resolve(import.meta.dirname, "../..", name), "utf8");

/** Keys and defaults of the table below a heading; undefined for a key without a default. */
function documented(heading: string): Readonly<Record<string, unknown>> {
  const [, section = ""] = read("docs/CONFIGURATION.md").split(`\n## ${heading}\n`);
  const rows = section.split("\n## ", 1)[0]?.matchAll(/^\| `(\w+)` \| (?:none\b[^|]*|`([^`]+)`) \|/gmu) ?? [];
  return Object.fromEntries(
    [...rows].map(([, key = "", value]) => [key, value === undefined ? undefined : (JSON.parse(value) as unknown)]),
  );
}

test.each([
  ["/etc/latchkey/master.yaml", masterConfigSchema],
  ["/etc/latchkey/minion.yaml", minionFileSchema],
] as const)("docs/CONFIGURATION.md has every key of %s with its default, and no other", (heading, schema) => {
  const table = documented(heading);
  expect(Object.keys(table)).toEqual(Object.keys(schema.shape));
  const given = Object.entries(table).filter(([, value]) => value !== undefined);
  expect(Object.fromEntries(given)).toEqual(schema.parse({}));
});

test("docs/DEPENDENCIES.md names every dependency, the table of rooms those at run time", () => {
  const { dependencies, optionalDependencies, devDependencies } = JSON.parse(read("package.json")) as Record<
    "dependencies" | "optionalDependencies" | "devDependencies",
    Readonly<Record<string, string>>
  >;
  const named = new Set(
    [...read("docs/DEPENDENCIES.md").matchAll(/^\| ([^|]+) \|/gmu)].flatMap(([, cell = ""]) => cell.split(", ")),
  );
  const isNamed = (name: string) => [...named].some((cell) => cell === name || cell.replace(/ \d+$/u, "") === name);
  expect(
    Object.keys({ ...dependencies, ...optionalDependencies, ...devDependencies }).filter((name) => !isNamed(name)),
  ).toEqual([]);
  const rooms = read("docs/ARCHITECTURE.md").split("\n## Rooms\n")[1]?.split("\n## ", 1)[0] ?? "";
  // the runtime has no door: it runs them all
  const imported = Object.keys({ ...dependencies, ...optionalDependencies }).filter(
    (name) => !name.startsWith("node-linux-"),
  );
  expect(imported.filter((name) => !rooms.includes(name))).toEqual([]);
});
