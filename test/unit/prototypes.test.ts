import * as fc from "fast-check";
import { expect, test } from "vitest";
import { parseArguments } from "../../src/cli/arguments.ts";
import { isJsonObject } from "../../src/core/json.ts";
import { jsonObjectSchema } from "../../src/core/json-schema.ts";
import { parseOsRelease } from "../../src/minion/grains.ts";
import { mergePillar } from "../../src/pillar/merge.ts";
import { templateGrains } from "../../src/pillar/template-grains.ts";
import { renderTemplate } from "../../src/sls/render.ts";
import { parseYaml } from "../../src/sls/yaml.ts";
import { parseLvmText } from "../../src/states/devices/lvm-text.ts";
import { decodeMsgpack, encodeMsgpack } from "../../src/wire/msgpack.ts";
import { thrownBy } from "./thrown-by.ts";

/** What a document may try: keys that JavaScript knows, plain and quoted, as anchors, aliases and merges. */
const KEY = fc.constantFrom("__proto__", "constructor", "prototype", "polluted", "a", "<<", "toString");
const YAML_KEY = fc.oneof(
  KEY,
  KEY.map((key) => `"${key}"`),
  KEY.map((key) => `&k "${key}"`),
  fc.constant("*k "),
  fc.constant('"\\x5f_proto__"'),
);

const { value: yamlValue } = fc.letrec<{ value: string; map: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    KEY.map((key) => `&k ${key}`),
    fc.constantFrom("1", "*k", "*m"),
    tie("map"),
    tie("map").map((map) => `&m ${map}`),
    fc.array(tie("value"), { maxLength: 3 }).map((items) => `[${items.join(", ")}]`),
  ),
  map: fc
    .array(fc.tuple(YAML_KEY, tie("value")), { maxLength: 3 })
    .map((pairs) => `{${pairs.map(([key, value]) => `${key}: ${value}`).join(", ")}}`),
}));

const { object: anyObject } = fc.letrec<{ value: unknown; object: Record<string, unknown> }>((tie) => ({
  value: fc.oneof({ depthSize: "small" }, fc.constant(1), tie("object"), fc.array(tie("value"), { maxLength: 2 })),
  object: fc.array(fc.tuple(KEY, tie("value")), { maxLength: 4 }).map((pairs) => Object.fromEntries(pairs)),
}));

/** Throws unless every map in it has the prototype that all maps have. */
function assertPlain(value: unknown): void {
  if (Array.isArray(value)) {
    expect(Object.getPrototypeOf(value)).toBe(Array.prototype);
    for (const item of value) assertPlain(item);
  } else if (isJsonObject(value)) {
    expect([Object.prototype, null]).toContain(Object.getPrototypeOf(value));
    for (const item of Object.values(value)) assertPlain(item);
  }
}

/** What a door makes of its input, undefined when it refuses. */
function taken<T>(door: () => T): T | undefined {
  try {
    return door();
  } catch {
    return undefined;
  }
}

/** Whether a door leaves all maps as they were, those that it makes and the one that all come from. */
function isSafe(door: () => unknown): boolean {
  assertPlain(taken(door));
  return ({} as { polluted?: unknown }).polluted === undefined && Object.keys(Object.prototype).length === 0;
}

test.each([
  ["an alias of a value", 'a: &x "__proto__"\n*x : {polluted: 1}\n'],
  ["an alias of a value, inside", "a: &x __proto__\nb:\n  *x : {polluted: 1}\n"],
  ["an alias of a value that is null", "a: &x __proto__\n*x : null\n"],
  ["a key with an escape", '"\\x5f_proto__": {polluted: 1}\n'],
  ["an anchored key", '? &x "__proto__"\n: {polluted: 1}\n'],
])("YAML refuses the key __proto__ written as %s", (_name, text) => {
  expect(thrownBy(() => parseYaml(text, "f"))).toMatchObject({
    code: "bad-yaml",
    message: expect.stringContaining('key "__proto__" is not allowed') as string,
  });
});

test("whatever a YAML file says, its maps and what is merged of them are maps like all others", () => {
  fc.assert(
    fc.property(yamlValue, yamlValue, (one, other) => {
      expect(isSafe(() => parseYaml(one, "f"))).toBe(true);
      expect(isSafe(() => parseYaml(`k: &k __proto__\nm: &m {a: 1}\nv: ${one}\n? *k\n: ${other}\n`, "f"))).toBe(true);
      expect(
        isSafe(() => {
          const [first, second] = [parseYaml(one, "f"), parseYaml(other, "f")];
          return isJsonObject(first) && isJsonObject(second) ? mergePillar(first, second) : null;
        }),
      ).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test("whatever JSON or msgpack says, what is taken is a map like all others", () => {
  fc.assert(
    fc.property(anyObject, anyObject, (one, other) => {
      const text = JSON.stringify(one);
      expect(isSafe(() => jsonObjectSchema.parse(JSON.parse(text)))).toBe(true);
      expect(isSafe(() => decodeMsgpack(encodeMsgpack(one)))).toBe(true);
      expect(isSafe(() => parseArguments([text, `__proto__=${text}`, `a=${text}`]))).toBe(true);
      // also of maps that hold such a key as their own, which no door lets in
      expect(isSafe(() => mergePillar(one as never, other as never))).toBe(true);
      expect(isSafe(() => templateGrains(one as never))).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test("texts of a host's own programs make maps like all others", () => {
  expect(isSafe(() => parseOsRelease("__proto__=1\nconstructor=2\n"))).toBe(true);
  expect(isSafe(() => parseLvmText("__proto__ { polluted = 1 }\nconstructor { prototype { polluted = 1 } }\n"))).toBe(
    true,
  );
});

test.each([
  "{{__proto__.polluted}}",
  "{{constructor.name}}",
  '{{lookup this "__proto__"}}',
  "{{grains.a.constructor}}",
])("a template does not reach %s", (text) => {
  expect(thrownBy(() => renderTemplate(text, "f", { grains: { a: {} } }))).toMatchObject({ code: "bad-template" });
});
