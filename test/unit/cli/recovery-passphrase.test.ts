import { expect, test } from "vitest";
import { makePassphrase } from "../../../src/cli/recovery-passphrase.ts";

test("a passphrase that is made has 140 random bits in groups that a person can type, each another", () => {
  const made = new Set<string>();
  const letters = new Set<string>();
  for (let index = 0; index < 200; index += 1) {
    using passphrase = makePassphrase();
    const text = passphrase.expose().toString("latin1");
    expect(text).toMatch(/^[0-9a-hjkmnp-tv-z]{4}(?:-[0-9a-hjkmnp-tv-z]{4}){6}$/u);
    made.add(text);
    for (const letter of text.replaceAll("-", "")) letters.add(letter);
  }
  expect(made.size).toBe(200);
  expect(letters.size).toBe(32);
});
