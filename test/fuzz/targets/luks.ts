import { createHash } from "node:crypto";
import { isJsonObject } from "../../../src/core/json.ts";
import { parseLuksBytes } from "../../../src/states/devices/luks-header.ts";
import { isReencrypting, reencryptedBytes } from "../../../src/states/devices/luks-reencryption.ts";
import { keyslotsOf, luksHeaderBytes, luksSegment, volumeKeyMark } from "../../../src/states/devices/luks-slots.ts";
import { findLuksToken, formatLuksToken } from "../../../src/states/devices/luks-token.ts";
import { luks2Bytes } from "../../fakes/luks2-bytes.ts";
import { promise, promisePlain, type Target } from "../target.ts";

const SIZE = 0x4000;
const HEAD = 512;
const JSON_AT = 4096;
const CHECKSUM_AT = 448;

/**
 * An input is how both copies differ from sound ones, so that it may be small: a byte of choices, the first 512 bytes of
 * the first copy, then the JSON. The checksums are made right, but where the choices say otherwise.
 */
function deviceOf(bytes: Buffer): Buffer {
  const choices = bytes[0] ?? 0;
  const head = bytes.subarray(1, 1 + HEAD);
  const json = bytes.subarray(1 + HEAD, 1 + HEAD + SIZE - JSON_AT);
  const device = Buffer.alloc(3 * SIZE);
  for (const at of [0, SIZE]) {
    const copy = device.subarray(at, at + SIZE);
    head.copy(copy);
    json.copy(copy, JSON_AT);
    if (at > 0 && (choices & 1) === 0) {
      copy.write("SKUL", 0, "latin1");
      copy.writeBigUInt64BE(BigInt(at), 256);
    }
    if ((choices & (at === 0 ? 2 : 4)) === 0) seal(copy);
  }
  return device;
}

function seal(copy: Buffer): void {
  const algorithm = copy.toString("latin1", 72, 104).replace(/\0.*$/su, "");
  if (!["sha1", "sha256", "sha384", "sha512"].includes(algorithm)) return;
  copy.fill(0, CHECKSUM_AT, CHECKSUM_AT + 64);
  createHash(algorithm).update(copy).digest().copy(copy, CHECKSUM_AT);
}

const inputOf = (choices: number, json: unknown) => {
  const device = luks2Bytes("b1f1e9c0-0000-4000-8000-000000000000", {});
  const text = typeof json === "string" ? json : JSON.stringify(json);
  return Buffer.concat([Buffer.of(choices), device.subarray(0, HEAD), Buffer.from(text)]);
};

const KEYSLOT = {
  type: "luks2",
  key_size: 64,
  priority: 2,
  af: { type: "luks1", stripes: 4000, hash: "sha256" },
  area: { type: "raw", offset: "32768", size: "258048", encryption: "aes-xts-plain64", key_size: 64 },
  kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000, salt: "c2FsdA==" },
};
const METADATA = {
  keyslots: { "0": KEYSLOT },
  tokens: {
    "0": {
      type: "latchkey",
      keyslots: ["0"],
      state: "committed",
      machine: [{ slot: 0, version: 1 }],
      volume: "v",
      made: 1,
    },
  },
  segments: {
    "0": { type: "crypt", offset: "16777216", size: "dynamic", encryption: "aes-xts-plain64", sector_size: 512 },
  },
  digests: { "0": { type: "pbkdf2", keyslots: ["0"], segments: ["0"], salt: "c2FsdA==", digest: "ZGlnZXN0" } },
  config: { json_size: "12288", keyslots_size: "16744448", requirements: { mandatory: ["online-reencrypt-v2"] } },
};

export const target: Target = {
  covers: [
    "src/states/devices/luks-header.ts",
    "src/states/devices/luks-slots.ts",
    "src/states/devices/luks-token.ts",
    "src/states/devices/luks-reencryption.ts",
  ],
  refusals: [],
  dictionary: [
    "LUKS\xba\xbe",
    "SKUL\xba\xbe",
    "sha1",
    "sha512",
    '"flags":["in-reencryption"]',
    '"backup-previous"',
    "null",
    "[]",
    "{}",
    '"0":',
    '"31":',
    "__proto__",
    "1e999",
    "-1",
    "cipher_null-ecb",
  ],
  seeds: () => [
    inputOf(0, METADATA),
    inputOf(2, METADATA),
    inputOf(6, {}),
    inputOf(0, { segments: { "0": { offset: "1", flags: ["in-reencryption"] }, "1": { offset: "0" } } }),
    Buffer.concat([Buffer.of(0), Buffer.from("4c554b53babe0001", "hex"), Buffer.alloc(HEAD, 0x61)]),
    "",
  ],
  decode: async (bytes) => {
    const found = await parseLuksBytes(deviceOf(bytes));
    if (found.kind !== "valid") return;
    const { header } = found;
    promise("a header says what it is", isJsonObject(header.metadata) && [1, 2].includes(header.version));
    promise("its texts are short", header.uuid.length <= 40 && header.label.length <= 48);
    const slots = keyslotsOf(header);
    promisePlain(slots);
    promise("keyslots have numbers of their own", new Set(slots.map(({ slot }) => slot)).size === slots.length);
    promise(
      "there are 32 keyslots",
      slots.every(({ slot }) => slot >= 0 && slot < 32),
    );
    promise("sizes are whole and safe", Number.isSafeInteger(luksHeaderBytes(header)) && luksHeaderBytes(header) >= 0);
    const { offset } = luksSegment(header);
    promise("where data begins is whole, safe and not before the device", Number.isSafeInteger(offset) && offset >= 0);
    promise("a mark is one", /^[0-9a-f]{16}$/u.test(volumeKeyMark(header)));
    isReencrypting(header.metadata);
    promise("what is re-encrypted is a number", reencryptedBytes(header.metadata) >= 0);
    const token = findLuksToken(header);
    if (token.kind !== "valid") return;
    promise(
      "a token speaks of slots that are there",
      token.token.machine.every(({ slot }) => slot >= 0 && slot < 32),
    );
    promisePlain(JSON.parse(formatLuksToken(token.token)));
  },
};
