import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { armor, Decrypter, Encrypter, generateIdentity, identityToRecipient } from "age-encryption";
import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { decryptAge } from "../../../src/core/age-decrypt.ts";
import { assertAgeRecipient, generateAgeIdentityFile, parseAgeIdentityFile } from "../../../src/core/age-identity.ts";
import { encryptAge } from "../../../src/core/age.ts";
import { Secret } from "../../../src/core/secret.ts";
import { lacks } from "../../tools.ts";

const CREATED = "2026-11-22T16:00:00Z";
const directory = mkdtempSync(join(tmpdir(), "latchkey-age-"));
afterAll(() => rmSync(directory, { recursive: true }));

const newIdentity = () => parseAgeIdentityFile(generateAgeIdentityFile(CREATED), "test");
const identity = newIdentity();
const open = (text: string, who = identity) => Buffer.from(decryptAge(text, who).expose());

test("what we encrypt we open again, whatever the bytes and however many the recipients", async () => {
  const other = newIdentity();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
      const text = await encryptAge(bytes, [other.recipient, identity.recipient]);
      expect(open(text)).toEqual(Buffer.from(bytes));
      expect(open(text, other)).toEqual(Buffer.from(bytes));
    }),
    { numRuns: 30 },
  );
});

test("the library opens with our identity file, and we what it wrote", async () => {
  const file = generateAgeIdentityFile(CREATED);
  const key = file.expose().toString().split("\n")[2] ?? "";
  const ours = parseAgeIdentityFile(file, "test");
  expect(await identityToRecipient(key)).toBe(ours.recipient);
  const decrypter = new Decrypter();
  decrypter.addIdentity(key);
  expect(await decrypter.decrypt(armor.decode(await encryptAge(Buffer.from("one"), [ours.recipient])), "text")).toBe(
    "one",
  );
  const encrypter = new Encrypter();
  encrypter.addRecipient(await identityToRecipient(await generateIdentity()));
  encrypter.addRecipient(ours.recipient);
  expect(open(armor.encode(await encrypter.encrypt("two")), ours).toString()).toBe("two");
});

test("65,536 bytes are one secret, one more is refused", async () => {
  const most = Buffer.alloc(65_536, 7);
  expect(open(await encryptAge(most, [identity.recipient]))).toEqual(most);
  await expect(encryptAge(Buffer.alloc(65_537), [identity.recipient])).rejects.toThrow("at most 65536");
  const encrypter = new Encrypter();
  encrypter.addRecipient(identity.recipient);
  const longer = armor.encode(await encrypter.encrypt(new Uint8Array(65_537)));
  expect(() => open(longer)).toThrow("longer than 64 KiB");
});

test("any changed byte is found", async () => {
  const file = armor.decode(await encryptAge(Buffer.from("a passphrase"), [identity.recipient]));
  fc.assert(
    fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
      const changed = Uint8Array.from(file);
      changed[at] = (changed[at] ?? 0) ^ by;
      expect(() => open(armor.encode(changed))).toThrow(
        /^cannot (?:read age ciphertext|open age ciphertext|agree on a key)/u,
      );
    }),
    { numRuns: 150 },
  );
});

test("garbage and cut-off text are errors, never a crash", async () => {
  const text = await encryptAge(Buffer.from("a passphrase"), [identity.recipient]);
  fc.assert(
    fc.property(fc.nat(text.length - 3), fc.string(), (at, tail) => {
      expect(() => open(text.slice(0, at) + tail)).toThrow(
        /^cannot (?:read age ciphertext|open age ciphertext|agree on a key)/u,
      );
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1 }), (bytes) => {
      expect(() => open(armor.encode(bytes))).toThrow(/^cannot read age ciphertext/u);
    }),
  );
});

test("another's ciphertext is refused with what to do", async () => {
  const text = await encryptAge(Buffer.from("x"), [newIdentity().recipient]);
  expect(() => open(text)).toThrow("not encrypted to this identity");
});

test("no recipient is an error, not an open file", async () => {
  await expect(encryptAge(Buffer.from("x"), [])).rejects.toThrow("no recipient is named");
});

test.each([["", "age1", "age1qqqq", "AGE-SECRET-KEY-1QQQ", `${identity.recipient}x`, "-r"]].flat())(
  "recipient %j is refused",
  (text) => {
    expect(() => assertAgeRecipient(text)).toThrow("cannot use recipient");
  },
);

test("an identity file without an identity is refused and not repeated", () => {
  for (const text of ["", "# only a comment\n", "AGE-SECRET-KEY-1BROKEN\n", "AGE-SECRET-KEY-PQ-1X\n"]) {
    expect(() => parseAgeIdentityFile(Secret.take(Buffer.from(text)), "/x/age.key")).toThrow(
      'cannot read age identity file "/x/age.key": no AGE-SECRET-KEY-1… line in it',
    );
  }
});

describe.skipIf(lacks("age"))("with Debian's age", () => {
  const keyFile = join(directory, "age.key");
  const file = generateAgeIdentityFile(CREATED);
  writeFileSync(keyFile, file.expose(), { mode: 0o600 });
  const ours = parseAgeIdentityFile(file, keyFile);

  test("`age -d -i` opens what we write, to the byte", async () => {
    const bytes = Buffer.from([0, 10, 13, 255, ...Buffer.from("tr\u00e4ume\n")]);
    const text = await encryptAge(bytes, [newIdentity().recipient, ours.recipient]);
    expect(execFileSync("age", ["-d", "-i", keyFile], { input: text })).toEqual(bytes);
  });

  test("we open what `age -r` writes", () => {
    const text = execFileSync("age", ["-a", "-r", identity.recipient, "-r", ours.recipient], { input: "from age" });
    expect(open(text.toString(), ours).toString()).toBe("from age");
  });

  test("`age-keygen -y` finds the recipient that the file's comment names", () => {
    expect(execFileSync("age-keygen", ["-y", keyFile]).toString().trim()).toBe(ours.recipient);
  });
});
