import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const SRC = resolve(import.meta.dirname, "../../src");
/** What composes the rooms into a program. */
const ENTRIES: ReadonlySet<string> = new Set([
  "main.ts",
  "main-cli.ts",
  "main-minion.ts",
  "main-ending.ts",
  "main-expressions.ts",
  "main-guard.ts",
  "main-snapshot.ts",
]);

/** The rooms of docs/ARCHITECTURE.md: what each may import of ours, and which outside packages it is the door to. */
const ROOMS: Readonly<Record<string, { readonly ours: readonly string[]; readonly doors: readonly string[] }>> = {
  core: { ours: [], doors: ["tweetnacl", "sodium-native", "age-encryption", "pino", "zod"] },
  wire: { ours: ["core"], doors: ["zeromq", "@msgpack/msgpack"] },
  sls: { ours: ["core"], doors: ["yaml", "handlebars", "fastest-levenshtein"] },
  states: { ours: ["core"], doors: ["diff"] },
  pillar: { ours: ["core", "sls"], doors: [] },
  minion: { ours: ["core", "wire", "sls", "states"], doors: ["execa"] },
  master: { ours: ["core", "wire", "sls", "states", "pillar"], doors: ["fastify", "@marcbachmann/cel-js", "re2js"] },
  cli: { ours: ["core"], doors: ["commander"] },
};

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\b[^;'"]*?from\s*["']([^"']+)["']|(?:^|\n)\s*import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/gu;

function importsOf(file: string): readonly string[] {
  return [...readFileSync(file, "utf8").matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3] ?? "");
}

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => join(SRC, name));

const roomOf = (file: string) => relative(SRC, file).split("/")[0] ?? "";
const packageOf = (specifier: string) =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");

test("every import stays within the table of rooms and doors", () => {
  const trespasses = files.flatMap((file) =>
    importsOf(file).flatMap((specifier) => {
      const room = roomOf(file);
      const where = relative(SRC, file);
      if (ENTRIES.has(room) || specifier.startsWith("node:")) return [];
      const rules = ROOMS[room];
      if (!rules) return [`${where}: "${room}" is no room`];
      if (specifier.startsWith(".")) {
        const target = roomOf(resolve(dirname(file), specifier));
        return target === room || rules.ours.includes(target) ? [] : [`${where} imports from ${target}/`];
      }
      return rules.doors.includes(packageOf(specifier)) ? [] : [`${where} imports ${specifier}`];
    }),
  );
  expect(trespasses).toEqual([]);
});

test("each outside package has one door", () => {
  const doors = Object.values(ROOMS).flatMap((room) => room.doors);
  expect(doors).toHaveLength(new Set(doors).size);
});

test("the scan sees the imports it is meant to judge", () => {
  expect(files.length).toBeGreaterThan(10);
  expect(new Set(importsOf(join(SRC, "core/schema-kinds.ts")))).toEqual(new Set(["zod"]));
});
