import { describe, expect, test } from "vitest";
import type { ConfigError } from "../../../src/core/errors.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { compilePillar, type PillarFiles } from "../../../src/pillar/compile.ts";

const ARMORED = String.raw`"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n"`;

function files(tree: Readonly<Record<string, string>>): PillarFiles {
  const read = async (path: string) => (Object.hasOwn(tree, path) ? Buffer.from(tree[path] ?? "") : undefined);
  return { read, readHost: read };
}

const compile = async (tree: Readonly<Record<string, string>>, grains: JsonObject = {}) =>
  compilePillar(files(tree), "web1", grains);

async function failure(tree: Readonly<Record<string, string>>, grains: JsonObject = {}): Promise<ConfigError> {
  return compile(tree, grains).then(
    () => expect.unreachable("it compiled"),
    (error: ConfigError) => error,
  );
}

test("top file by glob, list and grain, in its order; the host's own file wins", async () => {
  const { pillar } = await compile(
    {
      "top.sls": `base:
  '*': [common]
  'web1,web2': [{match: list}, webs]
  'os:Debian': [{match: grain}, debian]
  'db*': [databases]
`,
      "common.sls": "a: 1\nmap: {x: 1, y: [1, 2]}\nwho: {{id}} on {{grains.os}}\n",
      "webs.sls": "a: 2\nmap: {y: [3]}\n",
      "debian/init.sls": "map: {z: true}\n",
      "hosts/web1.yaml": "a: 3\nliteral: '{{id}}'\n",
      "hosts/web2.yaml": "a: 4\n",
    },
    { os: "Debian" },
  );
  expect(pillar).toEqual({
    a: 3,
    map: { x: 1, y: [3], z: true },
    who: "web1 on Debian",
    literal: "{{id}}",
  });
});

test("include: what is included comes first, each once, relative names as Salt reads them, cycles end", async () => {
  const { pillar } = await compile({
    "top.sls": "base: {'*': [app]}",
    "app/init.sls": "include: [.part, base.one]\nv: app\nown: 1\n",
    "app/part.sls": "include: [app]\nv: part\npart: 1\n",
    "base/one.sls": "include: [.two]\nv: one\none: 1\n",
    "base/two.sls": "two: 1\n",
  });
  expect(pillar).toEqual({ v: "app", own: 1, part: 1, one: 1, two: 1 });
});

test("I5: secrets become references, wherever they stand, and the bytes are not in the pillar", async () => {
  const { pillar, secrets } = await compile({
    "top.sls": "base: {'*': [luks]}",
    "luks.sls": `password: !secret ${ARMORED}\nvolumes:\n  - {name: data, key: !generate }\n  - {name: logs, key: !generate ''}\n`,
  });
  expect(pillar).toEqual({
    password: "secret:password",
    volumes: [
      { name: "data", key: "secret:volumes:0:key" },
      { name: "logs", key: "secret:volumes:1:key" },
    ],
  });
  expect([...secrets.keys()]).toEqual(["password", "volumes:0:key", "volumes:1:key"]);
  expect(secrets.get("volumes:0:key")).toEqual({ kind: "generate", file: "luks.sls", line: 3 });
  expect(secrets.get("password")).toMatchObject({ kind: "secret", file: "luks.sls", line: 1 });
  expect(JSON.stringify(pillar)).not.toContain("AGE ENCRYPTED");
});

test("armored text as a block is the same secret as on one line", async () => {
  const block =
    "password: !secret |\n  -----BEGIN AGE ENCRYPTED FILE-----\n  YWdl\n  -----END AGE ENCRYPTED FILE-----\n";
  const one = (await compile({ "hosts/web1.yaml": `password: !secret ${ARMORED}\n` })).secrets.get("password");
  expect((await compile({ "hosts/web1.yaml": block })).secrets.get("password")).toEqual(one);
});

test("a secret is merged as one value: a map does not merge into it, a plain value replaces it", async () => {
  const top = "base: {'*': [a, b]}";
  const map = await compile({ "top.sls": top, "a.sls": "k: !generate\n", "b.sls": "k: {x: 1}\n" });
  expect([map.pillar, map.secrets.size]).toEqual([{ k: { x: 1 } }, 0]);
  const secret = await compile({ "top.sls": top, "a.sls": "k: {x: 1}\n", "b.sls": "k: !generate\n" });
  expect(secret.pillar).toEqual({ k: "secret:k" });
});

test("a map that only looks like our placeholder stays a map", async () => {
  const { pillar, secrets } = await compile({ "hosts/web1.yaml": "k: {'!generate': ''}\n" });
  expect([pillar, secrets.size]).toEqual([{ k: { "!generate": "" } }, 0]);
});

test("no top file and no host file is an empty pillar", async () => {
  expect((await compile({})).pillar).toEqual({});
});

describe("lesson: 2024-37088 a broken pillar is a failed run, never a run with half a pillar", () => {
  test.each<[string, Record<string, string>, JsonObject]>([
    ["YAML", { "hosts/web1.yaml": "a: 1\nb: [1\n" }, { file: "hosts/web1.yaml", line: 2 }],
    [
      "a template",
      { "top.sls": "base: {'*': [x]}", "x.sls": "a: 1\nb: {{grains.nothing}}\n" },
      { file: "x.sls", line: 2 },
    ],
    ["the top file", { "top.sls": "base:\n  '*': [x]\n  'y': 5\n", "x.sls": "a: 1\n" }, { file: "top.sls", line: 3 }],
    ["an SLS that is a list", { "top.sls": "base: {'*': [x]}", "x.sls": "- a\n" }, { file: "x.sls", line: 1 }],
    ["an include of nothing", { "top.sls": "base: {'*': [x]}", "x.sls": "include: [y]\n" }, { sls: "y" }],
    [
      "an include that leaves the tree",
      { "top.sls": "base: {'*': [x]}", "x.sls": "a: 1\ninclude: ['...up']\n" },
      { file: "x.sls", line: 2 },
    ],
    ["an include in a host file", { "hosts/web1.yaml": "a: 1\ninclude: [x]\n" }, { file: "hosts/web1.yaml", line: 2 }],
    ["an unknown tag", { "hosts/web1.yaml": "a: 1\nb: !vault x\n" }, { file: "hosts/web1.yaml", line: 2 }],
    ["an empty secret", { "hosts/web1.yaml": "a: 1\nb: !secret ''\n" }, { file: "hosts/web1.yaml", line: 2 }],
    ["a value after !generate", { "hosts/web1.yaml": "b: !generate x\n" }, { file: "hosts/web1.yaml", line: 1 }],
    ["a secret that is a map", { "hosts/web1.yaml": "b: !secret {x: 1}\n" }, { file: "hosts/web1.yaml", line: 1 }],
    [
      "a secret below a key with a colon",
      { "hosts/web1.yaml": "'a:b':\n  c: !generate\n" },
      { file: "hosts/web1.yaml", line: 2 },
    ],
    ["the same key twice", { "hosts/web1.yaml": "a: 1\na: 2\n" }, { file: "hosts/web1.yaml", line: 2 }],
  ])("%s", async (_, tree, facts) => {
    const error = await failure(tree);
    expect(error.name).toBe("ConfigError");
    expect(error.facts).toMatchObject(facts);
  });
});

test("I5: plain text under !secret is refused, and no error repeats it", async () => {
  const plain = await failure({ "hosts/web1.yaml": "password: !secret correct horse\n" });
  expect(plain.message).toBe('cannot use !secret at "password": the value is not encrypted (hosts/web1.yaml line 1)');
  const broken = await failure({ "hosts/web1.yaml": 'password: "correct horse\n' });
  expect(`${broken.message} ${JSON.stringify(broken.facts)}`).not.toContain("horse");
});

describe("lesson: 2021-25283 templates are sandboxed, YAML is the safe subset", () => {
  test.each(["!!python/object/apply:os.system [id]", "!!js/function 'x'", "!include /etc/shadow"])(
    "tag %s",
    async (value) => {
      expect((await failure({ "hosts/web1.yaml": `a: ${value}\n` })).code).toBe("bad-yaml");
    },
  );

  test.each(["{{constructor}}", "{{grains.constructor.name}}", "{{> partial}}"])("template %s", async (text) => {
    const tree = { "top.sls": "base: {'*': [x]}", "x.sls": `a: "${text}"\n` };
    expect((await failure(tree, { os: "Debian" })).code).toBe("bad-template");
  });

  test.each(["x\ninclude: [other]", "x}, include: [other", "x, include: [other]", "!generate", "*a", "x: y", "x #"])(
    "a grain %j cannot write YAML into the pillar",
    async (role) => {
      const tree = {
        "top.sls": "base: {'*': [x]}",
        "x.sls": "{role: {{grains.role}}}\n",
        "other.sls": "stolen: !generate\n",
      };
      expect((await failure(tree, { role })).code).toBe("bad-template");
    },
  );
});

test.each(["../x", "a/b", "", ".hidden", "a..b"])("lesson: 2020-11652 id %j never becomes a path", async (id) => {
  await expect(compilePillar(files({}), id, {})).rejects.toThrow("cannot use minion id");
});
