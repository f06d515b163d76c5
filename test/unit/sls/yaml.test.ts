import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ConfigError } from "../../../src/core/errors.ts";
import { thrownBy } from "../thrown-by.ts";
import { parseYaml, parseYamlDocument } from "../../../src/sls/yaml.ts";
import { anyCharacter } from "../../any-character.ts";

test.each([
  ["yes", true],
  ["Off", false],
  ["y", "y"],
  ["0644", 644],
  ["0x1f", 31],
  ["12:30", "12:30"],
  ["2020-01-01", "2020-01-01"],
  ["1.5", 1.5],
  ["1_000", 1000],
  ["~", null],
  ['"on"', "on"],
  ["99999999999999999999", "99999999999999999999"],
])("a plain %s reads as Salt reads it", (text, value) => {
  expect(parseYaml(`k: ${text}\n`, "f.sls")).toEqual({ k: value });
});

test.each([
  ["a tab as indentation", "a:\n\ttest.nop: []\n", 2, "test.nop: []"],
  ["a list that never ends", "a:\n  b: [1\n", 2, "b: [1"],
  ["a duplicate key", "a: 1\nb: 2\na: 3\n", 3, "a: 3"],
  ["two documents", "a: 1\n---\nb: 2\n", 2, "---"],
  ["an unknown tag", "a: !!js/function x\n", 1, "a: !!js/function x"],
  ["an alias without anchor", "a: *x\n", 1, "a: *x"],
  ["a prototype key", "a: 1\n__proto__: {b: 1}\n", 2, "__proto__: {b: 1}"],
])("%s is refused with file, line and the offending text", (_what, text, line, offending) => {
  expect(() => parseYaml(text, "dir/f.sls")).toThrow(
    expect.objectContaining({
      code: "bad-yaml",
      facts: expect.objectContaining({ file: "dir/f.sls", line, text: offending }),
    }),
  );
});

test("lesson: 2021-25283 YAML is the safe subset: aliases cannot unfold without end, nesting cannot end the stack", () => {
  const levels = Array.from({ length: 12 }, (_, level) =>
    level === 0 ? "a0: &a0 [x,x,x,x,x,x,x,x,x,x]" : `a${level}: &a${level} [${`*a${level - 1},`.repeat(10)}]`,
  );
  expect(() => parseYaml(levels.join("\n"), "f")).toThrow(/unfold/u);
  expect(() => parseYaml("[".repeat(100_000), "f")).toThrow(ConfigError);
});

test.each([
  ["!secret password: hunter2\n", 1],
  ["a:\n  !generate &k b: hunter2\n", 2],
  ["a: {!secret b: hunter2}\n", 1],
  ["? !secret\n: hunter2\n", 1],
  ["!<tag:example.com,2000:x> b: hunter2\n", 1],
])("a tag on a key protects nothing and is refused, the value not quoted: %j", (text, line) => {
  const error = thrownBy(() => parseYaml(text, "f", { tags: { "!secret": () => "", "!generate": () => "" } }));
  expect(error).toMatchObject({ code: "bad-yaml", facts: { file: "f", line } });
  expect(JSON.stringify(error) + String(error)).not.toContain("hunter2");
  expect(parseYaml("!!str a: 1\n", "f")).toEqual({ a: 1 });
});

test("tags mean what the caller says, and every scalar has its place", () => {
  const text = 'a: !secret |\n  abc\n  def\nb: !secret "x y" # c\nc:\n  - &q !secret zz\n';
  const document = parseYamlDocument(text, "f", { tags: { "!secret": ({ path }) => `secret:${path.join(":")}` } });
  expect(document.value).toEqual({ a: "secret:a", b: "secret:b", c: ["secret:c:0"] });
  expect(document.scalars.map(({ start, end }) => text.slice(start, end))).toEqual([
    "!secret |\n  abc\n  def\n",
    '!secret "x y"',
    "!secret zz",
  ]);
  expect(document.scalars.map((scalar) => scalar.text)).toEqual(["abc\ndef\n", "x y", "zz"]);
});

test("an unknown tag names the nearest of those that are known", () => {
  const tags = { "!secret": () => "", "!generate": () => "" };
  expect(() => parseYaml("a: !secre x\n", "a.yaml", { tags, secretive: true })).toThrow(
    'unknown tag "!secre", did you mean "!secret"?',
  );
});

test("a secretive reader quotes nothing of the file", () => {
  const secret = "hunter2hunter2";
  for (const text of [`a: !x ${secret}`, `a: "${secret}`, `a: ${secret}: b`, `{a: ${secret}}}`]) {
    const error = thrownBy(() => parseYaml(text, "f", { secretive: true }));
    expect(error).toBeInstanceOf(ConfigError);
    expect(JSON.stringify([error, String(error)])).not.toContain(secret);
  }
});

test("merge keys fill in what is not set", () => {
  expect(parseYaml("a: &a {k: 1, l: 2}\nb: {<<: *a, k: 3}\n", "f")).toEqual({ a: { k: 1, l: 2 }, b: { k: 3, l: 2 } });
});

test("no text does anything but parse or throw ConfigError", () => {
  const pieces = fc.constantFrom(...`a : - [ ] { } | > # ? % 1 ! " ' &x *x !t <<`.split(" "), " ", "\t", "\n");
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(pieces).map((parts) => parts.join("")),
        fc.string({ unit: anyCharacter }),
      ),
      (text) => {
        expect(thrownBy(() => parseYaml(text, "f")) ?? new ConfigError("", "")).toBeInstanceOf(ConfigError);
      },
    ),
    { numRuns: 500 },
  );
});
