import { argon2, createDecipheriv, hash, pbkdf2 } from "node:crypto";
import { promisify } from "node:util";
import { equalBytes } from "./crypto/hash.ts";
import type { JsonObject } from "./json.ts";
import { readLuksNumber } from "./luks-number.ts";
import { z } from "./schema.ts";
import type { Secret } from "./secret.ts";

const SECTOR = 512;
const HASHES = ["sha1", "sha256", "sha384", "sha512"] as const;
const hashName = z.enum(HASHES);
const number = z
  .string()
  .refine((text) => readLuksNumber(text) !== undefined)
  .transform(Number);
const base64 = z
  .string()
  .max(1000)
  .transform((text) => Buffer.from(text, "base64"));
/**
 * What a header may cost us: it comes from a host, and a hostile one would keep the master busy for hours. cryptsetup itself
 * makes slots of at most 1 GiB that take some 2 s, and digests of some 0.1 s.
 */
const MAX_ITERATIONS = 20_000_000;
const MAX_DIGEST_ITERATIONS = 2_000_000;
const MAX_DIGEST_BYTES = 64;
const MAX_MEMORY_KIB = 1024 * 1024;
const MAX_PASSES = 1000;
/** Passes times memory: 16 over 1 GiB, or more over less. */
const MAX_KIB_PASSES = 16 * MAX_MEMORY_KIB;

const kdfSchema = z
  .discriminatedUnion("type", [
    z.object({
      type: z.literal("pbkdf2"),
      hash: hashName,
      iterations: z.number().int().positive().max(MAX_ITERATIONS),
      salt: base64,
    }),
    z.object({
      type: z.enum(["argon2i", "argon2id"]),
      time: z.number().int().positive().max(MAX_PASSES),
      memory: z.number().int().positive().max(MAX_MEMORY_KIB),
      cpus: z.number().int().positive().max(64),
      salt: base64,
    }),
  ])
  .refine((kdf) => kdf.type === "pbkdf2" || kdf.time * kdf.memory <= MAX_KIB_PASSES);
const keyslotSchema = z.object({
  type: z.literal("luks2"),
  key_size: z.number().int().min(16).max(256),
  af: z.object({ type: z.literal("luks1"), stripes: z.literal(4000), hash: hashName }),
  area: z.object({
    type: z.literal("raw"),
    offset: number,
    size: number,
    encryption: z.literal("aes-xts-plain64"),
    key_size: z.union([z.literal(32), z.literal(64)]),
  }),
  kdf: kdfSchema,
});
const digestSchema = z.object({
  type: z.literal("pbkdf2"),
  keyslots: z.array(z.string()),
  hash: hashName,
  iterations: z.number().int().positive().max(MAX_DIGEST_ITERATIONS),
  salt: base64,
  digest: base64.refine((bytes) => bytes.length > 0 && bytes.length <= MAX_DIGEST_BYTES),
});
const metadataSchema = z.object({
  keyslots: z.record(z.string(), z.unknown()),
  digests: z.record(z.string(), z.unknown()),
});
type Keyslot = z.infer<typeof keyslotSchema>;

/** Whether a key opens a keyslot; `cannot-tell` for a slot of a kind that is not read here. */
export type SlotVerdict = "opens" | "does-not-open" | "cannot-tell";

const pbkdf2Async = promisify(pbkdf2);
const argon2Async = promisify(argon2);

async function deriveKey({ kdf, area }: Keyslot, key: Secret): Promise<Buffer> {
  if (kdf.type === "pbkdf2") return pbkdf2Async(key.expose(), kdf.salt, kdf.iterations, area.key_size, kdf.hash);
  return argon2Async(kdf.type, {
    message: key.expose(),
    nonce: kdf.salt,
    parallelism: kdf.cpus,
    tagLength: area.key_size,
    memory: kdf.memory,
    passes: kdf.time,
  });
}

/** aes-xts-plain64: each sector under its own number, counted from the start of the area. Overwrites `bytes`. */
function decryptArea(bytes: Buffer, key: Buffer): void {
  const cipher = key.length === 64 ? "aes-256-xts" : "aes-128-xts";
  const iv = Buffer.alloc(16);
  for (let at = 0; at < bytes.length; at += SECTOR) {
    iv.writeBigUInt64LE(BigInt(at / SECTOR));
    const sector = bytes.subarray(at, at + SECTOR);
    const decipher = createDecipheriv(cipher, key, iv).setAutoPadding(false);
    const plain = decipher.update(sector);
    sector.set(plain);
    plain.fill(0);
  }
}

/** Spreads a block over its own length: each piece hashed behind its number (LUKS1 specification 1.2.3, section 2.4). */
function diffuse(block: Buffer, algorithm: string): void {
  const number = Buffer.alloc(4);
  for (let at = 0, index = 0; at < block.length; index += 1) {
    number.writeUInt32BE(index);
    const digest = hash(algorithm, Buffer.concat([number, block.subarray(at, at + hashBytes(algorithm))]), "buffer");
    at += digest.copy(block, at);
    digest.fill(0);
  }
}

const hashBytes = (algorithm: string) => ({ sha1: 20, sha256: 32, sha384: 48 })[algorithm] ?? 64;

/** Puts a key together again that was split into stripes. */
function mergeStripes(split: Buffer, keyBytes: number, stripes: number, algorithm: string): Buffer {
  const block = Buffer.alloc(keyBytes);
  for (let stripe = 0; stripe < stripes; stripe += 1) {
    for (let at = 0; at < keyBytes; at += 1) {
      block[at] = (block[at] ?? 0) ^ (split[stripe * keyBytes + at] ?? 0);
    }
    if (stripe < stripes - 1) diffuse(block, algorithm);
  }
  return block;
}

/**
 * Whether `key` opens a keyslot of a LUKS2 header, computed from the header's bytes alone (both copies and the area of
 * keyslots): no device, no process. Everything derived on the way is wiped; the caller still owns the key. Costs what the
 * slot's own key derivation costs. Source: LUKS2 On-Disk Format Specification 1.1, sections 3 and 4.
 */
export async function testKeyslot(
  header: Buffer,
  metadata: JsonObject,
  slot: number,
  key: Secret,
): Promise<SlotVerdict> {
  const sections = metadataSchema.safeParse(metadata).data;
  const keyslot = keyslotSchema.safeParse(sections?.keyslots[String(slot)]).data;
  const digests = Object.values(sections?.digests ?? {}).map((digest) => digestSchema.safeParse(digest).data);
  const digest = digests.find((candidate) => candidate?.keyslots.includes(String(slot)));
  if (keyslot === undefined || digest === undefined) return "cannot-tell";
  const { area, af, key_size: keyBytes } = keyslot;
  const splitBytes = Math.ceil((keyBytes * af.stripes) / SECTOR) * SECTOR;
  if (splitBytes > area.size || area.offset + splitBytes > header.length) return "cannot-tell";
  const split = Buffer.from(header.subarray(area.offset, area.offset + splitBytes));
  const areaKey = await deriveKey(keyslot, key);
  decryptArea(split, areaKey);
  const volumeKey = mergeStripes(split, keyBytes, af.stripes, af.hash);
  const made = await pbkdf2Async(volumeKey, digest.salt, digest.iterations, digest.digest.length, digest.hash);
  for (const bytes of [areaKey, split, volumeKey]) bytes.fill(0);
  return equalBytes(made, digest.digest) ? "opens" : "does-not-open";
}
