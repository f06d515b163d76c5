import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { countRecipients, recipientSetId } from "../../../src/core/age-recipients.ts";
import { decryptWithPassphrase, encryptWithPassphrase, isAgeFile } from "../../../src/core/age-passphrase.ts";
import { encryptAge } from "../../../src/core/age.ts";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../../src/core/age-identity.ts";
import { Secret } from "../../../src/core/secret.ts";

const secretOf = (text: string) => Secret.take(Buffer.from(text));
const FAST = 4;

test("what a passphrase closes it opens, and no other", async () => {
  const bytes = randomBytes(100);
  const armored = await encryptWithPassphrase(Secret.take(Buffer.from(bytes)), secretOf("correct horse"), FAST);
  expect(isAgeFile(Buffer.from(armored))).toBe(true);
  const opened = await decryptWithPassphrase(Buffer.from(armored), secretOf("correct horse"));
  expect(opened.expose().equals(bytes)).toBe(true);
  await expect(decryptWithPassphrase(Buffer.from(armored), secretOf("wrong"))).rejects.toMatchObject({
    code: "wrong-passphrase",
  });
});

test("a file that wants gigabytes of memory, is damaged or for recipients is refused", async () => {
  const armored = await encryptWithPassphrase(secretOf("x"), secretOf("p"), FAST);
  const binary = Buffer.from(armored.split("\n").slice(1, -2).join(""), "base64");
  const greedy = Buffer.from(binary.toString("latin1").replace(/ 4\n/u, " 30\n"), "latin1");
  await expect(decryptWithPassphrase(greedy, secretOf("p"))).rejects.toThrow("work factor 30");
  binary[binary.length - 1] = (binary.at(-1) ?? 0) ^ 1;
  await expect(decryptWithPassphrase(binary, secretOf("p"))).rejects.toThrow("changed after");
  const { recipient } = parseAgeIdentityFile(generateAgeIdentityFile("now"), "test");
  const other = Buffer.from(await encryptAge(Buffer.from("x"), [recipient]));
  await expect(decryptWithPassphrase(other, secretOf("p"))).rejects.toThrow("not encrypted to a passphrase");
});

test("recipients are counted, and a set has one name whatever its order", async () => {
  const [a = "", b = ""] = [1, 2].map(() => parseAgeIdentityFile(generateAgeIdentityFile("now"), "test").recipient);
  expect(countRecipients(await encryptAge(Buffer.from("x"), [a, b]))).toBe(2);
  expect(recipientSetId([a, b])).toBe(recipientSetId([b, a, b]));
  expect(recipientSetId([a])).not.toBe(recipientSetId([a, b]));
});
