import { describe, expect, test } from "vitest";
import { placeValue } from "../../../src/pillar/place-value.ts";
import { replaceSealed, sealedPlaces } from "../../../src/pillar/sealed-places.ts";

const FILE = "hosts/web1.yaml";
const place = (text: string, path: string, written = '!secret "x"') => placeValue(text, FILE, path, written);

test.each([
  ["", "password", 'password: !secret "x"\n'],
  ["# only a comment", "password", '# only a comment\npassword: !secret "x"\n'],
  ["a: 1\n", "password", 'a: 1\npassword: !secret "x"\n'],
  ["a: 1 # kept\n", "disk:password", 'a: 1 # kept\ndisk:\n  password: !secret "x"\n'],
  ["disk:\n  # c\n  vg: data\nb: 2\n", "disk:password", 'disk:\n  # c\n  password: !secret "x"\n  vg: data\nb: 2\n'],
  ["disk:\n    vg: data\n", "disk:a:b", 'disk:\n    a:\n      b: !secret "x"\n    vg: data\n'],
  ["password: plain # c\nb: 2\n", "password", 'password: !secret "x" # c\nb: 2\n'],
  ["password: !secret 'old' # c\n", "password", 'password: !secret "x" # c\n'],
  ["password: !generate\nb: 2\n", "password", 'password: !secret "x"\nb: 2\n'],
  ["disk: { password: !secret old, vg: data }\n", "disk:password", 'disk: { password: !secret "x", vg: data }\n'],
  ["list:\n  - key: !secret old\n  - b\n", "list:0:key", 'list:\n  - key: !secret "x"\n  - b\n'],
  ["p: !secret |\n  one\n  two\nb: 2\n", "p", 'p: !secret "x"\nb: 2\n'],
  ['p: !secret # was !secret of 2025\n  "old"\n', "p", 'p: !secret # was !secret of 2025\n  "x"\n'],
  ['p: !secret\n  &k "old"\nq: 1\n', "p", 'p: !secret\n  &k "x"\nq: 1\n'],
  ["p: !secret | # mine\n  one\n", "p", 'p: !secret "x" # mine\n'],
  ["p: !generate # soon\nb: 2\n", "p", 'p: !secret "x" # soon\nb: 2\n'],
  ["p: !generate &k\nq: 1\n", "p", 'p: !secret &k "x"\nq: 1\n'],
  ["a: 1\n", "yes", 'a: 1\n"yes": !secret "x"\n'],
])("%j with a value at %s", (text, path, wanted) => {
  expect(place(text, path)).toBe(wanted);
});

test.each([
  ["a list stands there", "password:\n  - 1\n", "password"],
  ["a map stands there", "password:\n  a: 1\n", "password"],
  ["an alias stands there", "a: &x 1\npassword: *x\n", "password"],
  ["its parent is written in one line", "disk: { vg: data }\n", "disk:password"],
  ["its parent is a text", "disk: text\n", "disk:password"],
  ["its parent is a list", "disk:\n  - 1\n", "disk:5"],
  ["the file has ended", "a: 1\n...\n", "password"],
  ["a key is empty", "a: 1\n", "a::b"],
])("nothing is written where %s", (_, text, path) => {
  expect(() => place(text, path)).toThrow(/cannot (?:put|read)/u);
});

test("!generate in place of a secret, and the other way round", () => {
  const text = place("password: !secret old\n", "password", "!generate");
  expect(text).toBe("password: !generate\n");
  expect(place(text, "password")).toBe('password: !secret "x"\n');
  expect(place('password: !secret # mine\n  "old"\n', "password", "!generate")).toBe("password: !generate # mine\n");
});

describe("ciphertext in templates, which are no YAML", () => {
  const armor = "-----BEGIN AGE ENCRYPTED FILE-----\\nabc\\n-----END AGE ENCRYPTED FILE-----\\n";
  test("is seen where it is quoted on one line", () => {
    const text = `{{#if grains.x}}\na: !secret "${armor}"\n{{/if}}\n`;
    const [only] = sealedPlaces(text, "a.sls") ?? [];
    expect(only).toMatchObject({ line: 2, value: armor.replaceAll("\\n", "\n") });
    expect(text.slice(only?.start, only?.end)).toBe(`!secret "${armor}"`);
  });
  test("is replaced there, and where the new text would say something else nothing is", () => {
    const text = `{{#if grains.x}}\na: !secret "${armor}"\n{{/if}}\n`;
    const replace = (by: string) => replaceSealed(text, "a.sls", sealedPlaces(text, "a.sls") ?? [], () => by);
    const other = armor.replace("abc", "xyz");
    expect(replace(other.replaceAll("\\n", "\n"))).toBe(text.replace(armor, other));
    // what is no ciphertext would not be found again
    expect(replace("plain")).toBe(undefined);
    const yaml = `a: !secret "${armor}"\nb: 1\n`;
    const [place] = sealedPlaces(yaml, "a.sls") ?? [];
    const wrong = place ? [{ ...place, end: yaml.length - 2 }] : [];
    expect(replaceSealed(yaml, "a.sls", wrong, (value) => value)).toBe(undefined);
  });
  test("in another form is not passed over in silence", () => {
    expect(sealedPlaces(`{{#if x}}\na: !secret |\n  ${armor.replaceAll("\\n", "\n  ")}\n{{/if}}\n`, "a.sls")).toBe(
      undefined,
    );
  });
});
