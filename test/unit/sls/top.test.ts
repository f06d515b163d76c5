import { expect, test } from "vitest";
import { readTop } from "../../../src/sls/top.ts";

const context = { id: "web1", grains: { os: "Debian" }, pillar: {} };
const read = async (text: string | undefined) =>
  readTop(
    { read: async (path) => (path === "top.sls" && text !== undefined ? Buffer.from(text) : undefined) },
    context,
  );

test("globs, lists and grains choose SLS files in the order of the file, each once", async () => {
  const top = `base:
  '*': [common]
  web1,web2:
    - match: list
    - web
  'os:Debian':
    - match: grain
    - debian
    - common
  'G@os:Debian and not web2': [compound]
  'db*': [db]
  {{id}}: [own]
`;
  expect(await read(top)).toEqual(["common", "web", "debian", "compound", "own"]);
});

test("no top file is undefined, an empty one gives nothing", async () => {
  expect(await read(undefined)).toBeUndefined();
  expect(await read("")).toEqual([]);
});

test.each([
  ["base:\n  '*':\n    - ../etc\n", 3, "no SLS name"],
  ["base:\n  '*':\n    - match: grian\n", 3, 'did you mean "grain"'],
  ["prod:\n  '*': [a]\n", 1, "environment"],
  ["base:\n  '*': {a: b}\n", 2, "needs a list"],
  ["base:\n  'os':\n    - match: grain\n    - a\n", 2, "name:value"],
])("a mistake in a top file names its line: %j", async (text, line, message) => {
  await expect(read(text)).rejects.toThrow(message);
  await expect(read(text)).rejects.toMatchObject({ code: "bad-top", facts: { file: "top.sls", line } });
});
