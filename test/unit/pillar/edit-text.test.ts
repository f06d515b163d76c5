import * as fc from "fast-check";
import { expect, test } from "vitest";
import { planEdit, quoteYaml, sealEdit, showSecrets } from "../../../src/pillar/edit-text.ts";
import { parseYaml } from "../../../src/sls/yaml.ts";
import { anyCharacter } from "../../any-character.ts";

// a stand-in for age that armors base64, so that these tests are about text alone
const FOOT = "-----END AGE ENCRYPTED FILE-----\n";
const seal = (plain: string) => `-----BEGIN AGE ENCRYPTED FILE-----\n${Buffer.from(plain).toString("base64")}\n${FOOT}`;
const openSealed = (armored: string) => {
  const body = /^-----BEGIN AGE ENCRYPTED FILE-----\n([A-Za-z0-9+/=]+)\n/u.exec(armored)?.[1];
  return body === undefined ? undefined : Buffer.from(body, "base64").toString();
};
const line = (plain: string) => quoteYaml(seal(plain));
const block = (plain: string, indent: string) =>
  `|\n${seal(plain)
    .trimEnd()
    .split("\n")
    .map((each) => indent + each)
    .join("\n")}`;

const show = (text: string) => showSecrets(text, "f", openSealed);
const save = (old: string, text: string) =>
  sealEdit(text, "f", planEdit(old, text, "f", openSealed), ({ plain }) => seal(plain));

const FILE = `# a comment: keep
password: !secret ${line("one")}   # after it

volumes:
  - name: 'data'   # odd   spacing
    key: !secret ${block("two", "      ")}
  - {name: logs, key: !secret ${line("three")}, other: [1,  2]}
made: !generate
pin: &p !secret ${line("four")}
pin2: !secret &q ${line("five")}
again: *p
`;

test("every secret is shown on one line and nothing else is changed", () => {
  expect(show(FILE)).toBe(`# a comment: keep
password: !secret "one"   # after it

volumes:
  - name: 'data'   # odd   spacing
    key: !secret "two"
  - {name: logs, key: !secret "three", other: [1,  2]}
made: !generate
pin: &p !secret "four"
pin2: !secret &q "five"
again: *p
`);
});

test("saved as it was shown, the file is the same to the byte", () => {
  expect(save(FILE, show(FILE))).toBe(FILE);
  const crlf = FILE.replaceAll("\n", "\r\n");
  expect(save(crlf, show(crlf))).toBe(crlf);
});

test("only a changed secret gets a new ciphertext; text around it may change freely", () => {
  const edited = show(FILE).replace('"one"', "'another one'").replace("# a comment", "# my comment");
  expect(save(FILE, edited)).toBe(
    FILE.replace(line("one"), line("another one")).replace("# a comment", "# my comment"),
  );
});

test("a value that moves keeps its ciphertext, on one line where its block no longer fits", () => {
  expect(save(`a: !secret ${line("one")}\n`, 'b: !secret "one"\n')).toBe(`b: !secret ${line("one")}\n`);
  const old = `a: !secret ${block("one", "  ")}\n`;
  expect(save(old, 'b: !secret "one"\n')).toBe(`b: !secret ${block("one", "  ")}\n`);
  expect(save(old, 'b:\n  c: !secret "one"\n')).toBe(`b:\n  c: !secret ${line("one")}\n`);
  expect(save(old, 'b: !secret "one" # why\n')).toBe(`b: !secret ${line("one")} # why\n`);
  expect(save(old, 'b: {c: !secret "one"}\n')).toBe(`b: {c: !secret ${line("one")}}\n`);
});

test.each([
  ["a comment that names the tag", `a: !secret # was !secret of 2025\n  ${line("one")}\n`],
  ["an anchor on the next line", `a: !secret\n  &x ${line("one")}\nb: *x\n`],
  ["a comment above the value", `a: !secret # the key of /srv\n  # it is old\n  ${line("one")} # after\n`],
])("%s between tag and value stays there", (_, text) => {
  expect(save(text, show(text))).toBe(text);
  expect(show(text)).toBe(text.replace(line("one"), '"one"'));
  expect(save(text, show(text).replace('"one"', '"two"'))).toBe(text.replace(line("one"), line("two")));
});

test("a secret may be typed in any style; its bytes are what YAML reads", () => {
  const edited = "a: !secret plain text\nb: !secret |-\n  two\n  lines\nc: !secret |\n  ends\nd: !secret 'it''s'\n";
  const saved = save("", edited);
  expect(saved).toBe(
    `a: !secret ${line("plain text")}\nb: !secret ${line("two\nlines")}\nc: !secret ${line("ends\n")}\nd: !secret ${line("it's")}\n`,
  );
  expect(show(saved)).toContain(String.raw`b: !secret "two\nlines"`);
});

test("what cannot be opened stays as it is, and is kept when saved", () => {
  const foreign = 'a: !secret "-----BEGIN AGE ENCRYPTED FILE-----\\n!!\\n"\n';
  expect(show(foreign)).toBe(foreign);
  expect(planEdit(foreign, foreign, "f", openSealed)).toMatchObject([{ kind: "kept", path: "a" }]);
});

test("ciphertext put in by hand is left as it is written", () => {
  const text = `a: !secret ${block("one", "  ")}\n`;
  expect(planEdit("", text, "f", openSealed)).toMatchObject([{ kind: "sealed", path: "a" }]);
  expect(save("", text)).toBe(text);
});

test.each(["a: 1\nb: !secret\n", "a: 1\nb: !secret ''\n", "a: 1\nb: !secret '  '\n"])(
  "an empty secret is refused with its line",
  (text) => {
    expect(() => save("", text)).toThrow('cannot save the secret "b": it is empty (f line 2)');
  },
);

test("I5: a mistake is named by line, and the text is not repeated", () => {
  for (const text of [
    'a: !secret "hunter2\n',
    "a: 1\n!secret hunter2: [\n",
    "b: hunter2: x\n",
    "a: !secrte hunter2\n",
  ]) {
    expect(() => save("", text)).toThrow(/^(?!.*hunter2).*line \d/su);
  }
});

test("any text survives being shown and saved", () => {
  fc.assert(
    fc.property(fc.string({ unit: anyCharacter, minLength: 1, maxLength: 40 }), (plain) => {
      const quoted = quoteYaml(plain);
      expect(parseYaml(`a: ${quoted}\n`, "f")).toEqual({ a: plain });
      expect(quoted).not.toContain("\n");
      if (plain.trim() === "") return;
      const file = save("", `a: !secret ${quoted}\n`);
      expect(show(file)).toBe(`a: !secret ${quoted}\n`);
      expect(save(file, show(file))).toBe(file);
    }),
    { numRuns: 100 },
  );
});
