import { expect, test } from "vitest";
import { plainKeyMaterial, plainKeysIn } from "../../../src/pillar/plain-key-material.ts";

const HEX = "0123456789abcdef".repeat(4);
const DENSE = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xYzAbCdEfGhIj=";

test.each([
  ["password: hunter2", true],
  ["luks_key: abc", true],
  ["api-token: abc", true],
  [`blob: ${HEX}`, true],
  [`blob: ${DENSE}`, true],
  ['pem: "-----BEGIN OPENSSH PRIVATE KEY-----"', true],
  ["note: AGE-SECRET-KEY-1QQQ", true],
  ["password: !secret x", false],
  ["password: !generate", false],
  ["password: secret:disk:password", false],
  ["keyfile: /etc/keys/a", false],
  ["ssh_key: ssh-ed25519 AAAA", false],
  [`source_hash: ${HEX}`, false],
  [`cert: ${DENSE}`, false],
  ["name: a-perfectly-ordinary-but-quite-long-description-of-things", false],
  ["monkey: banana", false],
])("%s looks like key material: %s", (text, expected) => {
  expect(plainKeyMaterial(`${text}\n`, "a.yaml")).toHaveLength(expected ? 1 : 0);
});

test("in a compiled pillar, by path", () => {
  expect(plainKeysIn({ a: [{ password: "x" }, { b: "c" }], d: 1 })).toEqual(["a:0:password"]);
});
