import { isSafeCipher } from "./luks-cipher.ts";
import {
  entriesOf,
  fieldsOf,
  integerIn,
  listIn,
  type LuksLayout,
  numberIn,
  saysReencrypting,
  textIn,
} from "./luks-layout.ts";
import { findStrangeFields, overfullSections } from "./luks-layout-fields.ts";

/** A field of a header that no volume of ours can have, whatever it was before. */
export interface LayoutFault {
  readonly field: string;
  /** As JSON. */
  readonly value: string;
  /** As the end of a sentence: `does not encrypt, or is not known to`. */
  readonly why: string;
}

const BINARY_BYTES = 4096;
/** Of a section (specification 1.1, section 3). */
const MAX_ENTRIES = 32;
/** Both are more than cryptsetup makes by itself (2 s, 1 GiB): what takes longer is meant to keep a host from starting. */
const MAX_PBKDF2 = 100_000_000;
const MAX_DIGEST_ITERATIONS = 10_000_000;
const MAX_MEMORY_KIB = 4 * 1024 * 1024;
const MAX_KIB_PASSES = 16 * MAX_MEMORY_KIB;
const HASHES = /^(?:sha(?:1|224|256|384|512)|sha3-(?:224|256|384|512)|ripemd160|whirlpool|blake2[bs]-\d{3})$/u;
const INTEGRITY = /^(?:aead|poly1305|hmac\(sha(?:256|512)\)|cmac\(aes\))$/u;
const AREAS: ReadonlySet<string> = new Set([
  "none",
  "journal",
  "checksum",
  "datashift",
  "datashift-journal",
  "datashift-checksum",
]);
const REQUIREMENTS = /^online-reencrypt(?:-v\d+)?$/u;

const FLAGS: ReadonlySet<string> = new Set([
  "allow-discards",
  "same-cpu-crypt",
  "submit-from-crypt-cpus",
  "no-journal",
  "no-read-workqueue",
  "no-write-workqueue",
  "high_priority",
]);
const SEGMENT_FLAGS: ReadonlySet<string> = new Set([
  "in-reencryption",
  "backup-previous",
  "backup-final",
  "backup-moved-segment",
]);
/** Base64 as a mark of it: what is no text is none. */
const MARK = /^[0-9a-f]{16}$/u;

type Fields = LuksLayout;

const textAt = (fields: Fields, field: string): string => textIn(fields, field) ?? "";
const within = (value: number, min: number, max: number): boolean => value >= min && value <= max;

/** Collects what is wrong in one entry. */
class Faults {
  readonly found: LayoutFault[] = [];

  check(layout: LuksLayout, place: string, isRight: boolean, why: string): void {
    if (!isRight) this.found.push({ field: place, value: (layout.get(place) ?? '""').slice(0, 100), why });
  }
}

/** Where the areas of keyslots begin and end, in bytes; NaN when the header does not say. */
function slotArea(layout: LuksLayout): { readonly from: number; readonly to: number } {
  const from = 2 * (numberIn(layout, "config.json_size") + BINARY_BYTES);
  return { from, to: from + numberIn(layout, "config.keyslots_size") };
}

function judgeSegment(layout: LuksLayout, entry: string, faults: Faults): void {
  const at = (field: string) => `segments.${entry}.${field}`;
  const fields = fieldsOf(layout, "segments", entry);
  const says = (field: string, isRight: boolean, why: string) => faults.check(layout, at(field), isRight, why);
  says("type", textAt(fields, "type") === "crypt", "is not encrypted");
  says("encryption", isSafeCipher(textAt(fields, "encryption")), "does not encrypt, or is not known to");
  says("sector_size", [512, 1024, 2048, 4096].includes(integerIn(fields, "sector_size")), "is no size of a sector");
  says("iv_tweak", Number.isSafeInteger(numberIn(fields, "iv_tweak")), "is no number");
  const offset = numberIn(fields, "offset");
  says("offset", offset % 512 === 0 && offset >= slotArea(layout).to, "lies in the header itself");
  const size = textAt(fields, "size");
  says("size", size === "dynamic" || numberIn(fields, "size") > 0, "is no size");
  const hasIntegrity = [...fields.keys()].some((field) => field.startsWith("integrity"));
  const isSound = INTEGRITY.test(textAt(fields, "integrity.type"));
  says("integrity.type", !hasIntegrity || isSound, "is no kind of integrity that is known");
  const flags = listIn(fields, "flags");
  says("flags", flags?.every((flag) => SEGMENT_FLAGS.has(flag)) === true, "is not known");
  const digests = entriesOf(layout, "digests");
  const proves = (digest: string) => listIn(layout, `digests.${digest}.segments`)?.includes(entry) === true;
  const isProven = digests.some(proves) || saysReencrypting(layout);
  const place = `digests.${digests[0] ?? "0"}.segments`;
  faults.check(layout, place, isProven, `does not have segments.${entry}: nothing would prove its volume key`);
}

function judgeKdf(fields: Fields, says: (field: string, isRight: boolean, why: string) => void): void {
  const type = textAt(fields, "kdf.type");
  const slow = "would keep the host busy for too long";
  if (type === "pbkdf2") {
    says("kdf.hash", HASHES.test(textAt(fields, "kdf.hash")), "is no hash that is known");
    return says("kdf.iterations", within(integerIn(fields, "kdf.iterations"), 1000, MAX_PBKDF2), slow);
  }
  says("kdf.type", type === "argon2i" || type === "argon2id", "is no key derivation that is known");
  const memory = integerIn(fields, "kdf.memory");
  says("kdf.memory", within(memory, 1, MAX_MEMORY_KIB), slow);
  says("kdf.time", within(integerIn(fields, "kdf.time") * memory, 1, MAX_KIB_PASSES), slow);
  says("kdf.cpus", within(integerIn(fields, "kdf.cpus"), 1, 64), slow);
}

function judgeKeyslot(layout: LuksLayout, entry: string, faults: Faults): void {
  const fields = fieldsOf(layout, "keyslots", entry);
  const says = (field: string, isRight: boolean, why: string) =>
    faults.check(layout, `keyslots.${entry}.${field}`, isRight, why);
  const { from, to } = slotArea(layout);
  const start = numberIn(fields, "area.offset");
  const end = start + numberIn(fields, "area.size");
  says("area.offset", start >= from && end <= to, "lies outside the area of keyslots");
  if (textAt(fields, "type") === "reencrypt") {
    says("type", saysReencrypting(layout), "belongs to a re-encryption that is not under way");
    says("mode", textAt(fields, "mode") === "reencrypt", "takes the encryption away, or adds one");
    return says("area.type", AREAS.has(textAt(fields, "area.type")), "is not known");
  }
  says("type", textAt(fields, "type") === "luks2", "is no kind of keyslot that is known");
  says("key_size", within(integerIn(fields, "key_size"), 16, 256), "is no size of a key");
  says("af.type", textAt(fields, "af.type") === "luks1", "is not known");
  says("af.stripes", integerIn(fields, "af.stripes") === 4000, "is not what the format has");
  says("af.hash", HASHES.test(textAt(fields, "af.hash")), "is no hash that is known");
  says("area.type", textAt(fields, "area.type") === "raw", "is not known");
  says("area.encryption", isSafeCipher(textAt(fields, "area.encryption")), "does not encrypt, or is not known to");
  says("area.key_size", within(integerIn(fields, "area.key_size"), 16, 256), "is no size of a key");
  judgeKdf(fields, says);
}

function judgeDigest(layout: LuksLayout, entry: string, faults: Faults): void {
  const fields = fieldsOf(layout, "digests", entry);
  const says = (field: string, isRight: boolean, why: string) =>
    faults.check(layout, `digests.${entry}.${field}`, isRight, why);
  says("type", textAt(fields, "type") === "pbkdf2", "is no kind of digest that is known");
  for (const field of ["salt", "digest"]) says(field, MARK.test(textAt(fields, field)), "is no text");
  says("hash", HASHES.test(textAt(fields, "hash")), "is no hash that is known");
  const iterations = integerIn(fields, "iterations");
  says("iterations", within(iterations, 1, MAX_DIGEST_ITERATIONS), "would keep the host busy for too long");
}

/** Areas that lie upon each other, each named once. */
function judgeOverlaps(layout: LuksLayout, faults: Faults): void {
  const areas = entriesOf(layout, "keyslots").map((entry) => {
    const fields = fieldsOf(layout, "keyslots", entry);
    const from = numberIn(fields, "area.offset");
    return { entry, from, to: from + numberIn(fields, "area.size") };
  });
  const sorted = areas.toSorted((a, b) => a.from - b.from);
  for (const [index, { entry, from }] of sorted.entries()) {
    const before = sorted[index - 1];
    faults.check(
      layout,
      `keyslots.${entry}.area.offset`,
      before === undefined || before.to <= from,
      "lies in another keyslot",
    );
  }
}

/**
 * What no header of a volume may say, whatever is known of the volume: a cipher that does not encrypt, a segment in plain, data
 * in the header's own place, a derivation that never ends, a value of another type than the format has, a section, field,
 * requirement or flag that nobody here knows. Empty for one that may be used; every fault is named.
 */
export function findLayoutFaults(layout: LuksLayout): readonly LayoutFault[] {
  const faults = new Faults();
  faults.check(
    layout,
    "version",
    integerIn(layout, "version") === 2,
    "is not LUKS2: convert it (cryptsetup convert --type luks2)",
  );
  if (faults.found.length > 0) return faults.found;
  const segments = entriesOf(layout, "segments");
  for (const section of overfullSections(layout, MAX_ENTRIES)) {
    faults.check(layout, section, false, `has more than ${MAX_ENTRIES} entries`);
  }
  if (faults.found.length > 0) return faults.found;
  faults.check(layout, "segments", segments.length > 0, "has no encrypted segment");
  for (const entry of segments) judgeSegment(layout, entry, faults);
  for (const entry of entriesOf(layout, "keyslots")) judgeKeyslot(layout, entry, faults);
  for (const entry of entriesOf(layout, "digests")) judgeDigest(layout, entry, faults);
  judgeOverlaps(layout, faults);
  const areAll = (field: string, isKnown: (one: string) => boolean) => listIn(layout, field)?.every(isKnown) === true;
  const isMet = areAll("config.requirements.mandatory", (one) => REQUIREMENTS.test(one));
  faults.check(layout, "config.requirements.mandatory", isMet, "is not known");
  faults.check(
    layout,
    "config.flags",
    areAll("config.flags", (one) => FLAGS.has(one)),
    "is not known",
  );
  for (const [field, why] of findStrangeFields(layout)) faults.check(layout, field, false, why);
  return faults.found;
}

/** All faults in one line, for a message. */
export function describeFaults(faults: readonly LayoutFault[]): string {
  const shown = faults.slice(0, 6).map(({ field, value, why }) => `${field} ${value} ${why}`);
  const more = faults.length > shown.length ? [`${faults.length - shown.length} more`] : [];
  return [...shown, ...more].join("; ");
}
