import { expect, test } from "vitest";
import { makeOperatorKey, openOperatorKey, publicKeyLine, readPublicKeyLine } from "../../../src/core/operator-key.ts";
import { Secret } from "../../../src/core/secret.ts";

const passphrase = (text: string) => Secret.take(Buffer.from(text));

test("an operator's key opens with its passphrase alone, and its file shows nothing", async () => {
  const { text, publicKey } = await makeOperatorKey(passphrase("correct horse"), { N: 1024, r: 8, p: 1 });
  const signing = await openOperatorKey(text, passphrase("correct horse"));
  expect(Buffer.from(signing.publicKey)).toEqual(Buffer.from(publicKey));
  await expect(openOperatorKey(text, passphrase("wrong horse"))).rejects.toMatchObject({ code: "wrong-passphrase" });
  const swapped = text.replace(
    /"publicKey": "./u,
    (match) => `${match.slice(0, -1)}${match.endsWith("A") ? "B" : "A"}`,
  );
  await expect(openOperatorKey(swapped, passphrase("correct horse"))).rejects.toMatchObject({
    code: "wrong-passphrase",
  });
  await expect(openOperatorKey("{}", passphrase("x"))).rejects.toMatchObject({ code: "bad-operator-key" });
});

test("a public key's line is read back, and nothing else is", () => {
  const key = Buffer.alloc(32, 7);
  expect(readPublicKeyLine(publicKeyLine(key, "ann"))).toBe(key.toString("base64"));
  expect(() => readPublicKeyLine("ssh-ed25519 AAAA ann")).toThrow(/no line of latchkey/u);
});
