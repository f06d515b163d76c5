import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const SRC = resolve(import.meta.dirname, "../../src");

/** What Node draws ahead for, into memory that a snapshot would keep: every start of it would go on with the same bytes. */
const DRAWN_AHEAD = /\brandomUUID\((?!\{ disableEntropyCache: true \}\))|\brandomInt\(/u;

test("nothing uses randomness that was drawn ahead and could lie in the minion's snapshot", () => {
  const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  expect(files.filter((name) => DRAWN_AHEAD.test(readFileSync(join(SRC, name), "utf8")))).toEqual([]);
});
