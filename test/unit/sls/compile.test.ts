import * as fc from "fast-check";
import { expect, test } from "vitest";
import { compile, type Compiled, type Wanted } from "../../../src/sls/compile.ts";
import { STATES } from "../../../src/states/registry.ts";
import { catalogueOf } from "../../../src/states/validate.ts";

async function compileFiles(files: Readonly<Record<string, string | Buffer>>, pillar = {}): Promise<Compiled> {
  const source = {
    read: async (path: string) => (Object.hasOwn(files, path) ? Buffer.from(files[path] ?? "") : undefined),
  };
  const context = { id: "m1", grains: {}, pillar };
  return compile({ kind: "sls", names: ["a"] }, source, context, catalogueOf(STATES));
}

async function errorsOf(files: Readonly<Record<string, string | Buffer>>, pillar = {}) {
  const compiled = await compileFiles(files, pillar);
  return compiled.kind === "errors" ? compiled.errors : [];
}

test.each([
  ["a state", "x:\n  test.nopp: []\n", 2, /no state "test.nopp", did you mean "test.nop"/u],
  ["a module", "x:\n  cmdd.run: []\n", 2, /no state "cmdd.run", did you mean "cmd.run"/u],
  ["a parameter", "x:\n  cmd.run:\n    - name: y\n    - cwdd: /\n", 4, /no parameter "cwdd", did you mean "cwd"/u],
  ["a requisite", "x:\n  cmd.run:\n    - requires: []\n", 3, /no parameter "requires", did you mean "require"/u],
  [
    "an _in target",
    "x:\n  test.nop:\n    - require_in:\n      - test: yy\nyyy:\n  test.nop: []\n",
    3,
    /did you mean "yyy"/u,
  ],
  ["an extended id", "extend:\n  xx:\n    test: []\nxxx:\n  test.nop: []\n", 3, /did you mean "xxx"/u],
  ["a bad value", "x:\n  cmd.run:\n    - timeout: soon\n", 3, /"timeout": /u],
])(
  "a mistyped %s is refused before anything runs, with the line and what was probably meant",
  async (_what, text, line, message) => {
    const errors = await errorsOf({ "a.sls": text });
    expect(errors.map((error) => error.message).join("\n")).toMatch(message);
    expect(errors[0]?.facts).toMatchObject({ file: "a.sls", line });
  },
);

const LOOP = "{{#each pillar.names}}\n{{this}}:\n  test.nop: []\n{{/each}}\n";

test.each<[string, string, number]>([
  ["a block that is taken", "{{#if pillar.yes}}\nx:\n  test.nop: []\n{{/if}}\ny:\n  test.nopp: []\n", 6],
  ["a block that is not", "{{#if pillar.no}}\nx:\n  test.nop: []\n{{/if}}\ny:\n  test.nopp: []\n", 6],
  ["an else", "{{#if pillar.no}}\nx: test.nop\n{{else}}\ny:\n  test.nopp: []\n{{/if}}\n", 5],
  ["a loop", `${LOOP}y:\n  test.nopp: []\n`, 6],
  [
    "a loop inside of a loop",
    `{{#each pillar.names}}\n{{#if ../pillar.no}}\n{{/if}}\n{{/each}}\ny:\n  test.nopp: []\n`,
    6,
  ],
  ["inside of a loop", "{{#each pillar.names}}\n{{this}}:\n  test.nopp: []\n{{/each}}\n", 3],
  ["a comment", "{{!-- one\ntwo --}}\ny:\n  test.nopp: []\n", 4],
  ["a value of several lines", "x:\n  cmd.run:\n    - name: {{json pillar.text}}\ny:\n  test.nopp: []\n", 5],
  ["blank lines and marks of whitespace", "\n\n{{#if pillar.yes~}}\n\n\ny:\n  test.nopp: []\n{{~/if}}\n", 7],
  ["an argument", `${LOOP}y:\n  cmd.run:\n    - cwdd: /\n`, 7],
  ["a requisite", `${LOOP}y:\n  test.nop:\n    - require_in: [test: none]\n`, 7],
  ["an include", `${LOOP}include:\n  - none\n`, 6],
  ["broken YAML", `${LOOP}y:\n  test.nop: [\n`, 6],
  ["no map", `${LOOP}y:\n  - oops\n`, 5],
])("behind %s the line is that of the file as it is written", async (_what, text, line) => {
  const pillar = { yes: true, no: false, names: ["p", "q", "r"], text: "one\ntwo" };
  const [error] = await errorsOf({ "a.sls": text }, pillar);
  expect(error?.facts).toMatchObject({ file: "a.sls", line });
});

test("a guard that calls an unknown function is refused before anything runs", async () => {
  const source = {
    read: async (path: string) =>
      path === "a.sls" ? Buffer.from("x:\n  test.nop:\n    - unless:\n      - fun: test.pnig\n") : undefined,
  };
  const known = { ...catalogueOf(STATES), functions: ["test.ping", "file.file_exists"] };
  const context = { id: "m1", grains: {}, pillar: {} };
  const compiled = await compile({ kind: "sls", names: ["a"] }, source, context, known);
  expect(compiled).toMatchObject({ errors: [{ code: "unknown-function", facts: { file: "a.sls", line: 3 } }] });
  expect(compiled.kind === "errors" && compiled.errors[0]?.message).toContain('"test.pnig", did you mean "test.ping"?');
});

test("a missing SLS or top file names the roots, and the SLS that was probably meant", async () => {
  const source = {
    read: async (path: string) => (path === "a.sls" ? Buffer.from("include: [cycl]\n") : undefined),
    roots: "/srv/states",
    paths: async () => ["a.sls", "cyc/init.sls", "cyc/x.txt"],
  };
  const context = { id: "m1", grains: {}, pillar: {} };
  const messages = async (wanted: Wanted) => {
    const compiled = await compile(wanted, source, context, catalogueOf(STATES));
    return compiled.kind === "errors" ? compiled.errors.map(({ message }) => message).join() : "";
  };
  expect(await messages({ kind: "sls", names: ["a"] })).toMatch(/"cycl" in \/srv\/states, did you mean "cyc"\?/u);
  expect(await messages({ kind: "highstate" })).toContain("there is no top.sls in /srv/states");
});

test.each([
  "{% if true %}\nx: test.nop\n{% endif %}\n",
  "x:\n  cmd.run:\n    - name: {{ pillar['x'] }}\n",
  "x:\n  cmd.run:\n    - name: {{ pillar.get('x', 'y') }}\n",
])("what is written in Jinja gets a hint: %j", async (text) => {
  const [error] = await errorsOf({ "a.sls": text });
  expect(error?.hint).toMatch(/looks like Jinja: templates are handlebars/u);
  expect((await errorsOf({ "a.sls": "x: [\n" }))[0]?.hint).toBeUndefined();
});

test("text that is not UTF-8 is refused with its line", async () => {
  const text = Buffer.from("x:\n  cmd.run:\n    - name: echo caf\u00e9\n", "latin1");
  const [error] = await errorsOf({ "a.sls": text });
  expect(error).toMatchObject({ code: "not-utf8", facts: { file: "a.sls", line: 3 } });
});

test("all mistakes are told at once, in every file", async () => {
  const errors = await errorsOf({
    "a.sls": "include: [b, c, nosuch]\nx:\n  test.nopp: []\ny:\n  - oops\n",
    "b.sls": "z: {{pillar.none}}\n",
    "c.sls": "k:\n  l: [\n",
  });
  const places = errors.map((error) => /\((.*) line (\d+)\)/u.exec(error.message)?.slice(1).join(":"));
  expect(new Set(places)).toEqual(new Set(["a.sls:1", "a.sls:3", "a.sls:4", "b.sls:1", "c.sls:2"]));
});

test("a cycle is printed in full, also one through prereq_in", async () => {
  const text = (kind: string) =>
    `x:\n  test.nop:\n    - require:\n      - test: y\ny:\n  test.nop:\n    - ${kind}:\n      - test: z\nz:\n  test.nop:\n    - require:\n      - test: x\n`;
  const [error] = await errorsOf({ "a.sls": text("require") });
  expect(error).toMatchObject({ code: "requisite-cycle", facts: { file: "a.sls" } });
  expect(error?.message).toContain("test: x -> test: y -> test: z -> test: x");
  const [other] = await errorsOf({
    "a.sls":
      "x:\n  test.nop:\n    - prereq_in:\n      - test: y\n    - require:\n      - test: y\ny:\n  test.nop: []\n",
  });
  expect(other?.message).toMatch(/x -> test: y -> test: x|y -> test: x -> test: y/u);
});

test("use copies what is not set, never names or requisites", async () => {
  const compiled = await compileFiles({
    "a.sls":
      "x:\n  cmd.run:\n    - name: one\n    - cwd: /\n    - runas: me\ny:\n  cmd.run:\n    - runas: you\n    - use:\n      - cmd: x\n",
  });
  expect(compiled).toMatchObject({ chunks: [{}, { params: { name: "y", cwd: "/", runas: "you" }, requisites: [] }] });
});

test.each([
  ["unless: 'true'", { unless: ["true"] }],
  ["onlyif: 'false'", { onlyif: ["false"] }],
  ["creates: /x", { creates: ["/x"] }],
  ["check_cmd: 'true'", { checkCmd: ["true"] }],
  ["failhard: true", { failhard: true }],
  ["retry: {attempts: 3, interval: 1}", { retry: { attempts: 3, intervalMs: 1000, until: true, splayMs: 0 } }],
])("use copies guards too: %s", async (guard, expected) => {
  const base = `x:\n  cmd.run:\n    - ${guard}\n`;
  const copied = await compileFiles({ "a.sls": `${base}y:\n  cmd.run:\n    - use: [cmd: x]\n` });
  expect(copied).toMatchObject({ chunks: [expected, expected] });
  const turned = await compileFiles({
    "a.sls": `${base}    - use_in: [cmd: y]\n    - require: [cmd: z]\ny:\n  cmd.run: []\nz:\n  cmd.run: []\n`,
  });
  const chunks = turned.kind === "chunks" ? turned.chunks : [];
  expect(chunks.find(({ id }) => id === "y")).toMatchObject({ ...expected, requisites: [] });
});

test("what use copies gives way to the state's own guard", async () => {
  const text = "x:\n  cmd.run:\n    - unless: a\ny:\n  cmd.run:\n    - unless: b\n    - use: [cmd: x]\n";
  expect(await compileFiles({ "a.sls": text })).toMatchObject({ chunks: [{}, { unless: ["b"] }] });
});

test("pillar values reach parameters", async () => {
  const compiled = await compileFiles({ "a.sls": "x:\n  cmd.run:\n    - name: {{pillar.word}}\n" }, { word: "hello" });
  expect(compiled).toMatchObject({ chunks: [{ name: "hello", line: 2 }] });
});

const KINDS = [
  "require",
  "watch",
  "onchanges",
  "onfail",
  "require_any",
  "watch_any",
  "require_in",
  "watch_in",
] as const;

test("the order respects every requisite, or there is a cycle; nothing is lost or doubled", async () => {
  const edge = fc.record({ from: fc.nat(11), to: fc.nat(11), kind: fc.constantFrom(...KINDS) });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 12 }), fc.array(edge, { maxLength: 14 }), async (count, edges) => {
      const text = Array.from({ length: count }, (_, id) => {
        const own = edges.filter(({ from, to }) => from === id && to < count);
        const args = own.map(({ kind, to }) => `    - ${kind}:\n      - test: s${to}\n`);
        return `s${id}:\n  test.nop:${args.length === 0 ? " []" : ""}\n${args.join("")}`;
      }).join("");
      const compiled = await compileFiles({ "a.sls": text });
      const chunks = compiled.kind === "chunks" ? compiled.chunks : [];
      const late = chunks.flatMap(({ requisites }, at) =>
        requisites.filter(({ targets }) => targets.some((to) => to >= at)),
      );
      expect(late).toEqual([]);
      const codes = compiled.kind === "errors" ? compiled.errors.map(({ code }) => code) : [];
      expect(new Set(codes)).toEqual(new Set(compiled.kind === "errors" ? ["requisite-cycle"] : []));
      expect(new Set(chunks.map(({ id }) => id)).size).toBe(compiled.kind === "chunks" ? count : 0);
    }),
    { numRuns: 200 },
  );
});
