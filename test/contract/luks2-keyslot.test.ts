import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testKeyslot } from "../../src/core/luks2-keyslot.ts";
import { Secret } from "../../src/core/secret.ts";
import { type LuksHeader, parseLuksBytes } from "../../src/states/devices/luks-header.ts";
import { lacks } from "../tools.ts";

const PBKDF2 = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
const ARGON = (kind: string) => ["--pbkdf", kind, "--pbkdf-force-iterations", "4", "--pbkdf-memory", "1024"];
let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-luks-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** cryptsetup on an image file: headers need no device-mapper. Keys go in on standard input, one behind the other. */
function cryptsetup(keys: readonly Buffer[], ...argv: readonly string[]): void {
  execFileSync("cryptsetup", argv, { input: Buffer.concat(keys), stdio: ["pipe", "ignore", "ignore"] });
}

interface Made {
  readonly image: string;
  readonly key: Buffer;
}

function format(name: string, ...options: readonly string[]): Made {
  const image = join(directory, name);
  writeFileSync(image, "");
  truncateSync(image, 8 * 1024 * 1024);
  const key = randomBytes(32);
  const fixed = ["--type=luks2", "--batch-mode", "--luks2-keyslots-size=1m", "--key-file=-", "--keyfile-size=32"];
  cryptsetup([key], "luksFormat", ...fixed, ...options, image);
  return { image, key };
}

/** The bytes of the header as the master has them: a backup, parsed. */
async function backup({ image }: Made): Promise<{ readonly bytes: Buffer; readonly header: LuksHeader }> {
  const file = `${image}.${randomBytes(4).toString("hex")}`;
  cryptsetup([], "luksHeaderBackup", `--header-backup-file=${file}`, image);
  const bytes = readFileSync(file);
  const finding = await parseLuksBytes(bytes);
  if (finding.kind !== "valid") throw new Error("no header");
  return { bytes, header: finding.header };
}

async function verdictOf(made: Made, slot: number, key: Buffer) {
  const { bytes, header } = await backup(made);
  using secret = Secret.take(Buffer.from(key));
  return testKeyslot(bytes, header.metadata, slot, secret);
}

describe.skipIf(lacks("cryptsetup"))("keyslots that cryptsetup made", () => {
  test.each([
    ["pbkdf2", PBKDF2],
    ["argon2id", ARGON("argon2id")],
    ["argon2i", ARGON("argon2i")],
    ["aes-128", [...PBKDF2, "--key-size", "256"]],
    ["sha512", [...PBKDF2, "--hash", "sha512"]],
  ])("a header made by cryptsetup, %s: its own key opens it, another does not", async (name, options) => {
    const made = format(name, ...options);
    expect(await verdictOf(made, 0, made.key)).toBe("opens");
    expect(await verdictOf(made, 0, randomBytes(32))).toBe("does-not-open");
    const flipped = Buffer.from(made.key);
    flipped[31] = (flipped[31] ?? 0) ^ 1;
    expect(await verdictOf(made, 0, flipped)).toBe("does-not-open");
  });

  test("each slot is opened by its own key alone, and a killed one by none", async () => {
    const made = format("slots", ...PBKDF2);
    const second = randomBytes(40);
    const sizes = ["--keyfile-size=32", "--new-keyfile=-", "--new-keyfile-size=40", "--new-key-slot=2"];
    cryptsetup([made.key, second], "luksAddKey", "--key-file=-", ...sizes, ...PBKDF2, made.image);
    expect(await verdictOf(made, 2, second)).toBe("opens");
    expect(await verdictOf(made, 0, second)).toBe("does-not-open");
    expect(await verdictOf(made, 2, made.key)).toBe("does-not-open");
    cryptsetup([], "luksKillSlot", "--batch-mode", made.image, "0");
    expect(await verdictOf(made, 0, made.key)).toBe("cannot-tell");
    expect(await verdictOf(made, 2, second)).toBe("opens");
  });

  test("an area that was overwritten does not open, and one that lies outside is not read", async () => {
    const made = format("damaged", ...PBKDF2);
    const { bytes, header } = await backup(made);
    using secret = Secret.take(Buffer.from(made.key));
    const damaged = Buffer.from(bytes);
    damaged.fill(0, 0x8000 + 4096, 0x8000 + 8192);
    expect(await testKeyslot(damaged, header.metadata, 0, secret)).toBe("does-not-open");
    expect(await testKeyslot(bytes.subarray(0, 0x10000), header.metadata, 0, secret)).toBe("cannot-tell");
    expect(secret.wiped).toBe(false);
  });

  test("a header that would cost gigabytes or hours is not computed", async () => {
    const made = format("costly", ...PBKDF2);
    const { bytes, header } = await backup(made);
    using secret = Secret.take(Buffer.from(made.key));
    const text = JSON.stringify(header.metadata);
    for (const costly of [
      text.replace('"iterations":1000,"salt"', '"iterations":2000000000,"salt"'),
      text.replace(
        '"type":"pbkdf2","hash":"sha256","iterations":1000',
        '"type":"argon2id","time":4,"memory":9000000,"cpus":1',
      ),
      text.replace('"stripes":4000', '"stripes":400000000'),
      text.replace('"aes-xts-plain64","key_size":64}', '"serpent-xts-plain64","key_size":64}'),
    ]) {
      expect(costly).not.toBe(text);
      expect(await testKeyslot(bytes, JSON.parse(costly), 0, secret)).toBe("cannot-tell");
    }
  });
});
