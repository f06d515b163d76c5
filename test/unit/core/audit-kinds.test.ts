import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { AUDIT_KINDS } from "../../../src/core/audit/kinds.ts";

const page = readFileSync(resolve(import.meta.dirname, "../../../docs/AUDIT.md"), "utf8");
/** What stands in the first column of the table of kinds. */
const named = [...page.matchAll(/^\| ((?:`[a-z-]+`(?:, )?)+) \|/gmu)].flatMap(([, cell = ""]) =>
  [...cell.matchAll(/`([a-z-]+)`/gu)].map(([, kind = ""]) => kind),
);

test("the audit page's table names every kind of record once, and none that there is not", () => {
  expect(named.toSorted()).toEqual([...AUDIT_KINDS].toSorted());
});
