import { expect, test } from "vitest";
import type { JsonObject } from "../../../src/core/json.ts";
import { testKeyslot } from "../../../src/core/luks2-keyslot.ts";
import { Secret } from "../../../src/core/secret.ts";

const SALT = Buffer.alloc(32).toString("base64");
const CHEAP = { type: "pbkdf2", hash: "sha256", iterations: 1000, salt: SALT };

function metadataWith(kdf: JsonObject, digest: JsonObject = {}): JsonObject {
  const area = { type: "raw", offset: "32768", size: "258048", encryption: "aes-xts-plain64", key_size: 64 };
  const af = { type: "luks1", stripes: 4000, hash: "sha256" };
  return {
    keyslots: { "0": { type: "luks2", key_size: 64, af, area, kdf } },
    digests: { "0": { ...CHEAP, keyslots: ["0"], digest: SALT, ...digest } },
  };
}

const costly = { type: "argon2id", time: 4, memory: 1024 * 1024, cpus: 4, salt: SALT };

test.each([
  ["a thousand passes over a gigabyte", { ...costly, time: 1000 }, {}],
  ["fifty passes over a gigabyte", { ...costly, time: 50 }, {}],
  ["twenty-five million rounds of a key", { ...CHEAP, iterations: 25_000_000 }, {}],
  ["fifteen million rounds of a digest", CHEAP, { iterations: 15_000_000 }],
  ["a digest that takes many hashes", CHEAP, { digest: Buffer.alloc(500).toString("base64") }],
])(
  "lesson: 2023-20897 a host's header cannot make the master work for minutes: %s",
  async (_what, kdf, digest) => {
    using key = Secret.take(Buffer.alloc(32, 1));
    const header = Buffer.alloc(1024 * 1024);
    expect(await testKeyslot(header, metadataWith(kdf, digest), 0, key)).toBe("cannot-tell");
  },
  2000,
);

test("what cryptsetup makes of a person's passphrase at most is tried", async () => {
  using key = Secret.take(Buffer.alloc(32, 1));
  // small here, and of the same cost in passes times memory as is allowed: a longer row of passes over less memory
  const kdf = { ...costly, time: 40, memory: 1024, cpus: 1 };
  expect(await testKeyslot(Buffer.alloc(1024 * 1024), metadataWith(kdf), 0, key)).toBe("does-not-open");
});
