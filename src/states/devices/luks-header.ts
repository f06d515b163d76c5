import { createHash } from "node:crypto";
import { isJsonObject, type JsonObject } from "../../core/json.ts";
import type { Host } from "../../core/host.ts";

const PRIMARY = Buffer.from([0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe]);
const SECONDARY = Buffer.from([0x53, 0x4b, 0x55, 0x4c, 0xba, 0xbe]);
const BINARY_SIZE = 4096;
const CHECKSUM_AT = 448;
/** Every place where the second copy can lie: the sizes a header may have. */
const SECOND_OFFSETS = [0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000] as const;
const LARGEST = 0x400000;
const HASHES: ReadonlySet<string> = new Set(["sha1", "sha256", "sha384", "sha512"]);

/** No header says as much as this, in bytes of its JSON and in levels of it; reading one that does would only cost time. */
const MAX_JSON = 64 * 1024;
const MAX_DEPTH = 16;

/** A LUKS header that reads. */
export interface LuksHeader {
  readonly version: 1 | 2;
  readonly uuid: string;
  /** "" for none, and for LUKS1. */
  readonly label: string;
  /** LUKS2: the higher of two sound copies is the latest. */
  readonly sequence: number;
  /** LUKS2's JSON area; `{}` for LUKS1. */
  readonly metadata: JsonObject;
  /** False when the device does not begin with LUKS and only the second copy was found. */
  readonly atStart: boolean;
  /** LUKS2: the JSON area of the other copy when that is sound as well; cryptsetup takes it if it finds fault with this one. */
  readonly other?: JsonObject;
  /** LUKS2: a copy is there that we do not read, and of which cryptsetup may read something else. */
  readonly unread?: true;
}

/** What a device says about LUKS: nothing, a sound header, or traces of one of which no copy reads. */
export type LuksFinding =
  | { readonly kind: "none" }
  | { readonly kind: "damaged" }
  | { readonly kind: "valid"; readonly header: LuksHeader };

const textOf = (bytes: Buffer): string => bytes.toString("utf8").replace(/\0.*$/su, "");

interface Copy {
  readonly header: LuksHeader;
  readonly sequence: bigint;
}

/**
 * Reads one LUKS2 header copy, binary and JSON area, its checksum verified. "torn": it is none, or its checksum is wrong, and
 * cryptsetup passes it over as well. "unread": cryptsetup may take it, and we cannot tell what it says: a hash that we do not
 * know by that very name, JSON that only a lenient reader takes, a size that no header has. `at` is where on the device it was read
 * from. Source: LUKS2 On-Disk Format Specification 1.1, section 2.1; json-c, which cryptsetup reads with, takes more than RFC 8259.
 */
function parseCopy(bytes: Buffer, magic: "primary" | "secondary", at: number): Copy | "torn" | "unread" {
  if (bytes.length < BINARY_SIZE) return "torn";
  if (!bytes.subarray(0, 6).equals(magic === "primary" ? PRIMARY : SECONDARY)) return "torn";
  const size = Number(bytes.readBigUInt64BE(8));
  if (bytes.readUInt16BE(6) !== 2 || size > bytes.length || size < BINARY_SIZE * 2) return "torn";
  if (Number(bytes.readBigUInt64BE(256)) !== at) return "torn";
  const algorithm = textOf(bytes.subarray(72, 104));
  if (!HASHES.has(algorithm)) return "unread";
  const hash = createHash(algorithm);
  hash
    .update(bytes.subarray(0, CHECKSUM_AT))
    .update(Buffer.alloc(64))
    .update(bytes.subarray(CHECKSUM_AT + 64, size));
  const digest = hash.digest();
  if (!digest.equals(bytes.subarray(CHECKSUM_AT, CHECKSUM_AT + digest.length))) return "torn";
  const metadata = isListed(size) ? parseJson(textOf(bytes.subarray(BINARY_SIZE, size))) : undefined;
  if (metadata === undefined) return "unread";
  const sequence = bytes.readBigUInt64BE(16);
  return {
    header: {
      version: 2,
      uuid: textOf(bytes.subarray(168, 208)),
      label: textOf(bytes.subarray(24, 72)),
      sequence: Number(sequence),
      metadata,
      atStart: magic === "primary",
    },
    sequence,
  };
}

/** As `readLuksHeader` reads one copy; undefined when it is not sound. */
export function parseLuks2Copy(bytes: Buffer, magic: "primary" | "secondary", at: number): LuksHeader | undefined {
  const copy = parseCopy(bytes, magic, at);
  return typeof copy === "string" ? undefined : copy.header;
}

/** Whether a text is no deeper than a header is; brackets within strings count too, which no header has. */
function isShallow(text: string): boolean {
  let depth = 0;
  for (const [bracket] of text.matchAll(/[[\]{}]/gu)) {
    depth += bracket === "[" || bracket === "{" ? 1 : -1;
    if (depth > MAX_DEPTH) return false;
  }
  return true;
}

function parseJson(text: string): JsonObject | undefined {
  // a name or a value with a NUL ends there for a reader in C, not for us
  if (text.length > MAX_JSON || /\\u0000/iu.test(text) || !isShallow(text)) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const isListed = (size: number): boolean => SECOND_OFFSETS.some((possible) => possible === size);

/** Size of the LUKS2 copy that starts with these bytes, 0 for none that is possible. */
function copySize(start: Buffer): number {
  const size = start.length >= 16 ? Number(start.readBigUInt64BE(8)) : 0;
  return isListed(size) ? size : 0;
}

type Reading = Pick<Host, "readRange">;

async function readCopy(
  host: Reading,
  path: string,
  at: number,
  magic: "primary" | "secondary",
  start: Buffer,
): Promise<Copy | "torn" | "unread"> {
  // also a size that no header has: cryptsetup may be of another mind
  const size = start.length >= 16 ? Number(start.readBigUInt64BE(8)) : 0;
  if (size < BINARY_SIZE * 2 || size > LARGEST) return "torn";
  const bytes = await host.readRange(path, at, size);
  return bytes === undefined ? "torn" : parseCopy(bytes, magic, at);
}

/**
 * The LUKS header of a device: for LUKS2 the latest of its two copies whose checksum is right, for LUKS1 the header as
 * it stands (it has no checksum). A boot with a sound first copy costs three reads.
 */
export async function readLuksHeader(host: Reading, path: string): Promise<LuksFinding> {
  const start = await host.readRange(path, 0, BINARY_SIZE);
  if (start === undefined || start.length < 512) return { kind: "none" };
  const hasPrimary = start.subarray(0, 6).equals(PRIMARY);
  if (hasPrimary && start.readUInt16BE(6) === 1) {
    const uuid = textOf(start.subarray(168, 208));
    return { kind: "valid", header: { version: 1, uuid, label: "", sequence: 0, metadata: {}, atStart: true } };
  }
  const primary = hasPrimary ? await readCopy(host, path, 0, "primary", start) : "torn";
  const first = typeof primary === "string" ? undefined : primary;
  const places = first ? [copySize(start)] : SECOND_OFFSETS;
  let best = first;
  let second: Copy | undefined;
  let traces = hasPrimary;
  let isUnread = primary === "unread";
  for (const at of places) {
    const begin = await host.readRange(path, at, BINARY_SIZE);
    if (begin === undefined || !begin.subarray(0, 6).equals(SECONDARY)) continue;
    traces = true;
    const copy = await readCopy(host, path, at, "secondary", begin);
    isUnread ||= copy === "unread";
    if (typeof copy === "string") continue;
    second ??= copy;
    if (best === undefined || copy.sequence > best.sequence) best = copy;
  }
  if (best) {
    const other = (best === first ? second : first)?.header.metadata;
    const more = { ...(other && { other }), ...(isUnread && { unread: true as const }) };
    return { kind: "valid", header: { ...best.header, atStart: hasPrimary, ...more } };
  }
  return { kind: traces ? "damaged" : "none" };
}

/** The LUKS header in these bytes, such as a backup of one. */
export function parseLuksBytes(bytes: Buffer): Promise<LuksFinding> {
  return readLuksHeader({ readRange: async (_path, at, length) => bytes.subarray(at, at + length) }, "");
}
