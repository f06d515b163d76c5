import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../../src/core/age-identity.ts";
import { decryptAgeBytes, encryptAgeBytes } from "../../../src/core/age-stream.ts";

const MAX = 4 * 1024 * 1024;
const fileOf = () => generateAgeIdentityFile("2026-01-01T00:00:00Z");
const identityFile = fileOf();
const text = identityFile.expose().toString("latin1");
const identity = parseAgeIdentityFile(identityFile, "age.key");
const other = parseAgeIdentityFile(fileOf(), "other.key");

test.each([0, 65_536, 200_002])("%i bytes come back as they were, also for a second recipient", async (size) => {
  const plain = randomBytes(size);
  const file = await encryptAgeBytes(plain, [identity.recipient, other.recipient], identity);
  expect(plain.equals(await decryptAgeBytes(file, identity, MAX))).toBe(true);
  expect(plain.equals(await decryptAgeBytes(file, other, MAX))).toBe(true);
});

test("the age program opens it, and we open what it writes", async () => {
  const directory = mkdtempSync(join(tmpdir(), "latchkey-age-"));
  try {
    const plain = randomBytes(200_000);
    writeFileSync(join(directory, "key"), text, { mode: 0o600 });
    writeFileSync(join(directory, "sealed"), await encryptAgeBytes(plain, [identity.recipient], identity));
    const argv = ["-d", "-i", join(directory, "key"), join(directory, "sealed")];
    expect(plain.equals(execFileSync("age", argv))).toBe(true);
    const made = execFileSync("age", ["-r", identity.recipient], { input: plain });
    expect(plain.equals(await decryptAgeBytes(made, identity, MAX))).toBe(true);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("what was changed, cut off, put in another order or is too long is refused", async () => {
  const plain = randomBytes(200_000);
  const file = await encryptAgeBytes(plain, [identity.recipient], identity);
  const span = 65_536 + 16;
  const tail = file.length - (3 * span + (200_000 - 3 * 65_536) + 16);
  const flipped = Buffer.from(file);
  flipped[tail + 100] = (flipped[tail + 100] ?? 0) ^ 1;
  const swapped = Buffer.concat([
    file.subarray(0, tail),
    file.subarray(tail + span, tail + 2 * span),
    file.subarray(tail, tail + span),
    file.subarray(tail + 2 * span),
  ]);
  for (const bad of [flipped, swapped, file.subarray(0, tail + 2 * span), file.subarray(0, -1), file.subarray(0, 50)]) {
    await expect(decryptAgeBytes(Buffer.from(bad), identity, MAX)).rejects.toMatchObject({ code: "bad-age-file" });
  }
  await expect(decryptAgeBytes(file, identity, 65_536)).rejects.toMatchObject({ code: "bad-age-file" });
  await expect(decryptAgeBytes(file, other, MAX)).rejects.toMatchObject({ code: "not-a-recipient" });
});
