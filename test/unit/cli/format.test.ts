import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { nestedLines } from "../../../src/cli/format/nested.ts";
import { paintWith } from "../../../src/cli/format/paint.ts";
import { safeJson, sanitise, sanitiseLine } from "../../../src/cli/format/sanitise.ts";
import { ageText, tableText } from "../../../src/cli/format/table.ts";
import { yamlText } from "../../../src/cli/format/yaml.ts";
import type { Json } from "../../../src/core/json.ts";
import { anyCharacter } from "../../any-character.ts";

const plain = paintWith(false);
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/u;

describe("text from outside", () => {
  test("any text is safe to print, and plain text is unchanged", () => {
    fc.assert(
      fc.property(fc.string({ unit: anyCharacter, maxLength: 60 }), (text) => {
        expect(sanitise(text)).not.toMatch(CONTROLS);
        expect(sanitiseLine(text)).not.toMatch(/[\n\t]/u);
      }),
    );
    expect(sanitise("Größe: 3 µs → ok\n\tend")).toBe("Größe: 3 µs → ok\n\tend");
  });

  test("JSON keeps the value, without control characters", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = safeJson(value, 2);
        expect(text).not.toMatch(CONTROLS);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});

describe("yaml", () => {
  const roundTrips = (value: Json) => {
    const text = yamlText(value);
    expect(text).not.toMatch(CONTROLS);
    for (const version of ["1.1", "1.2"] as const) {
      expect(parse(text, { version, uniqueKeys: false })).toEqual(value);
    }
  };

  test("every value reads back the same in YAML 1.1 and 1.2", () => {
    const text = fc.oneof(
      fc.string({ unit: anyCharacter, maxLength: 20 }),
      fc.string({ unit: fc.constantFrom("a", " ", "\n", ":", "#", "-", "'", '"', "1", "\t", "|"), maxLength: 12 }),
      fc.constantFrom("yes", "No", "~", "null", "1:30", "2026-11-22", "0o7", "1e3", ".inf", "<<", "=", "a: b", "a #b"),
    );
    const { value } = fc.letrec<{ value: Json }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        text,
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie("value"), { maxLength: 4 }),
        fc.dictionary(
          text.filter((key) => key !== "__proto__"),
          tie("value"),
          { maxKeys: 4, noNullPrototype: true },
        ),
      ),
    }));
    expect(() => fc.assert(fc.property(value, roundTrips), { numRuns: 500 })).not.toThrow();
  });

  test("text of several lines is a block, and nesting is indented by two", () => {
    expect(yamlText({ web1: { diff: "--- a\n+++ b\n", list: [{ a: 1, b: [] }, "x y"], path: "/etc/my.cnf" } })).toBe(
      "web1:\n  diff: |\n    --- a\n    +++ b\n  list:\n  - a: 1\n    b: []\n  - x y\n  path: /etc/my.cnf\n",
    );
  });
});

test("nested data in Salt's shape", () => {
  expect(nestedLines({ web1: { b: [1, { c: null }, [true]], a: "x\ny" } }, plain).join("\n")).toBe(
    `web1:
    ----------
    a:
        x
        y
    b:
        - 1
        |_
          ----------
          c:
              None
        |_
          - True`,
  );
});

test("a table has no trailing blanks and keeps its columns whatever the cells hold", () => {
  expect(
    tableText(
      ["ID", "STATE"],
      [
        [{ text: "a\nb" }, { text: "x" }],
        [{ text: "c" }, { text: "" }],
      ],
      plain,
    ),
  ).toBe("ID    STATE\na\\nb  x\nc\n");
});

test.each([
  [0, "0 s"],
  [119_400, "119 s"],
  [300_000, "5 min"],
  [10_800_000, "3 h"],
  [864_000_000, "10 d"],
])("an age of %d ms is %s", (ms, text) => {
  expect(ageText(ms)).toBe(text);
});
