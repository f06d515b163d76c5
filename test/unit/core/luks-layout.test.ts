import { assert, dictionary, jsonValue, property, string, stringMatching } from "fast-check";
import { describe, expect, test } from "vitest";
import { isSafeCipher } from "../../../src/core/luks-cipher.ts";
import type { Json, JsonObject } from "../../../src/core/json.ts";
import { compareLayouts, describeDifferences } from "../../../src/core/luks-layout-compare.ts";
import { findLayoutFaults } from "../../../src/core/luks-layout-rules.ts";
import { formatLayout, layoutFacts, layoutOf, type LuksLayout, parseLayout } from "../../../src/core/luks-layout.ts";
import { asOldLayout } from "../../../src/core/luks-layout-old.ts";
import { luksMetadata, parts, reencryptedMetadata, setAt } from "../../fakes/luks-metadata.ts";

const { keyslot, crypt, digest } = parts;
const header = luksMetadata;
const reencrypted = reencryptedMetadata;
const of = (metadata: JsonObject, uuid = "u"): LuksLayout => layoutOf({ version: 2, uuid, metadata });
const changed = (place: string, value: unknown, from = header()): LuksLayout => {
  setAt(from, place, value);
  return of(from);
};
const fieldsThatDiffer = (one: LuksLayout, two: LuksLayout, reencrypting = false) =>
  compareLayouts(one, two, { reencrypting }).map(({ field }) => field);

test("a header as our format makes it, and one that is being re-encrypted, have no fault", () => {
  expect(findLayoutFaults(of(header()))).toEqual([]);
  expect(findLayoutFaults(of(reencrypted()))).toEqual([]);
});

/** Everything that a header says, by its place; a value that it does not have; whether no header may have it. */
const CHANGES: readonly (readonly [place: string, value: unknown, named: string, isFault: boolean])[] = [
  ["segments.0.type", "linear", "segments.0.type", true],
  ["segments.0.encryption", "cipher_null-ecb", "segments.0.encryption", true],
  ["segments.0.encryption", "serpent-xts-plain64", "segments.0.encryption", false],
  ["segments.0.encryption", undefined, "segments.0.encryption", true],
  ["segments.0.offset", "4194304", "segments.0.offset", false],
  ["segments.0.offset", "32768", "segments.0.offset", true],
  ["segments.0.offset", "2097153", "segments.0.offset", true],
  ["segments.0.size", "1048576", "segments.0.size", false],
  ["segments.0.size", "0", "segments.0.size", true],
  ["segments.0.iv_tweak", "8", "segments.0.iv_tweak", false],
  ["segments.0.sector_size", 512, "segments.0.sector_size", false],
  ["segments.0.sector_size", 4, "segments.0.sector_size", true],
  ["segments.0.flags", ["backup-previous"], "segments.0.flags", false],
  ["segments.0.integrity", { type: "hmac(sha256)" }, "segments.0.integrity.type", false],
  ["segments.0.integrity", { type: "crc32c" }, "segments.0.integrity.type", true],
  ["segments.0.something", { deep: 1 }, "segments.0.something.deep", true],
  ["segments.1", crypt({ type: "linear" }), "segments.1.type", true],
  ["segments", {}, "segments.0.type", true],
  ["digests.0.type", "none", "digests.0.type", true],
  ["digests.0.hash", "sha512", "digests.0.hash", false],
  ["digests.0.hash", "md5", "digests.0.hash", true],
  ["digests.0.iterations", 2000, "digests.0.iterations", false],
  ["digests.0.iterations", 4_000_000_000, "digests.0.iterations", true],
  ["digests.0.salt", "other", "digests.0.salt", false],
  ["digests.0.digest", "other", "digests.0.digest", false],
  ["digests.0.segments", [], "digests.0.segments", true],
  ["digests.1", digest("x", ["0"]), "digests.1.salt", false],
  ["config.json_size", "4096", "config.json_size", false],
  ["config.keyslots_size", "524288", "config.keyslots_size", false],
  ["config.keyslots_size", "2097152", "config.keyslots_size", true],
  ["config.flags", ["allow-discards"], "config.flags", false],
  ["config.requirements", { mandatory: ["online-reencrypt-v2"] }, "config.requirements.mandatory", false],
  ["config.requirements", { mandatory: ["something-new"] }, "config.requirements.mandatory", true],
  ["keyslots.0.type", "luks9", "keyslots.0.type", true],
  ["keyslots.0.key_size", 32, "keyslots.0.key_size", false],
  ["keyslots.0.af.stripes", 1, "keyslots.0.af.stripes", true],
  ["keyslots.0.af.hash", "sha512", "keyslots.0.af.hash", false],
  ["keyslots.0.area.encryption", "cipher_null-ecb", "keyslots.0.area.encryption", true],
  ["keyslots.0.area.key_size", 32, "keyslots.0.area.key_size", false],
  ["keyslots.0.area.offset", "4096", "keyslots.0.area.offset", true],
  ["keyslots.0.area.size", "8388608", "keyslots.0.area.size", true],
  ["keyslots.0.kdf.iterations", 100_000, "keyslots.0.kdf.iterations", false],
  ["keyslots.0.kdf.iterations", 4_000_000_000, "keyslots.0.kdf.iterations", true],
  ["keyslots.0.kdf.hash", "sha512", "keyslots.0.kdf.hash", false],
  ["keyslots.0.kdf", { type: "argon2id", time: 4, memory: 1e9, cpus: 4, salt: "slot0" }, "keyslots.0.kdf.memory", true],
  ["something", { new: true }, "other.something.new", true],
  // the right words, of another type or under another name
  ["segments.0.sector_size", "4096", "segments.0.sector_size", true],
  ["segments.0.offset", 2_097_152, "segments.0.offset", true],
  ["segments.0.iv_tweak", 0, "segments.0.iv_tweak", true],
  ["segments.0.encryption", ["aes-xts-plain64"], "segments.0.encryption", true],
  ["segments.0.integrity", {}, "segments.0.integrity", true],
  ["segments.0.flags", ["something-new"], "segments.0.flags", true],
  ["segments.1", {}, "segments.1", true],
  ["segments.01", crypt(), "segments.01.type", true],
  ["segments.a\0", crypt(), "segments.a%0;.type", true],
  ["segments", "0", "segments", true],
  ["digests.0.segments", "0", "digests.0.segments", true],
  ["digests.0.segments", [0], "digests.0.segments", true],
  ["digests.0.salt", ["digest0"], "digests.0.salt", true],
  ["digests.0.iterations", "1000", "digests.0.iterations", true],
  ["keyslots.0.kdf.iterations", "1000", "keyslots.0.kdf.iterations", true],
  ["keyslots.0.key_size", true, "keyslots.0.key_size", true],
  ["config.keyslots_size", 1_048_576, "config.keyslots_size", true],
  ["config.flags", ["something-new"], "config.flags", true],
  ["config.flags", "allow-discards", "config.flags", true],
  ["config.requirements", { mandatory: "online-reencrypt-v2" }, "config.requirements.mandatory", true],
  ["config.requirements", { mandatory: ["online-reencrypt-v2", 1] }, "config.requirements.mandatory", true],
  ["config.something", "new", "config.something", true],
];

test.each(CHANGES)("%s = %j is named as %s, a fault by itself: %s", (place, value, named, isFault) => {
  const other = changed(place, value);
  expect(fieldsThatDiffer(of(header()), other)).toContain(named);
  expect(findLayoutFaults(other).length > 0).toBe(isFault);
});

test("the table has every field that a header of ours says", () => {
  const places = CHANGES.map(([place]) => place);
  const missing = [...of(header()).keys()].filter(
    (field) => !places.some((place) => field === place || field.startsWith(`${place}.`)),
  );
  expect(missing.toSorted()).toEqual(["keyslots.0.af.type", "keyslots.0.area.type", "uuid", "version"]);
});

test("values of two types, and names that are written alike, are two", () => {
  const pairs: readonly (readonly [Json, Json])[] = [
    ["4096", 4096],
    ["true", true],
    ["null", null],
    ["0", ["0"]],
    ["0", [0]],
    [["0"], [0]],
    [["a,b"], ["a", "b"]],
    [["a", "b"], "a,b"],
    [{}, "{}"],
    [{ "": 1 }, { "%;": 1 }],
    [{ "\0": 1 }, { "%0;": 1 }],
    [{ "\0": 1 }, { "%0": 1 }],
    [{ "\x000": 1 }, { "%00": 1 }],
    [{ "a.b": 1 }, { a: { b: 1 } }],
    [{ [`${"x".repeat(64)}a`]: 1 }, { [`${"x".repeat(64)}b`]: 1 }],
    [{ "\ud800": 1 }, { "\ud801": 1 }],
    [{ [`${"x".repeat(80)}\ud800`]: 1 }, { [`${"x".repeat(80)}\ud801`]: 1 }],
  ];
  for (const [one, two] of pairs) {
    for (const section of ["segments", "config", "new", "digests"]) {
      const [a, b] = [of({ [section]: { "0": one } }), of({ [section]: { "0": two } })];
      expect([one, two, formatLayout(a) === formatLayout(b)]).toEqual([one, two, false]);
    }
  }
  const salt = (value: Json) => formatLayout(of({ digests: { "0": { salt: value } } }));
  expect(salt("5")).not.toBe(salt(5));
  expect(salt("a,b")).not.toBe(salt(["a", "b"]));
});

test("a list is a set: its order says nothing", () => {
  expect(of({ config: { flags: ["b", "a"] } })).toEqual(of({ config: { flags: ["a", "b"] } }));
});

test("what an older version kept, all values as texts, is compared with what a header says now", () => {
  const old = (layout: LuksLayout) => asOldLayout(layout);
  const known = old(of(header()));
  expect(formatLayout(known)).toContain('segments.0.sector_size "4096"');
  expect(parseLayout(formatLayout(known))).toEqual(known);
  expect(fieldsThatDiffer(known, of(header()))).toEqual([]);
  expect(fieldsThatDiffer(known, of(reencrypted()), true)).toEqual([]);
  expect(fieldsThatDiffer(old(of(reencrypted())), of(reencrypted()))).toEqual([]);
  expect(fieldsThatDiffer(known, changed("segments.0.encryption", "cipher_null-ecb"))).toEqual([
    "segments.0.encryption",
  ]);
  // what is sent now has types, or is refused by itself
  expect(findLayoutFaults(known).map(({ field }) => field)).toEqual(["version"]);
  expect(fieldsThatDiffer(of(header()), known)).not.toEqual([]);
});

test("from and to are said, and a long list ends", () => {
  const found = compareLayouts(of(header()), changed("segments.0.encryption", "cipher_null-ecb"), {
    reencrypting: false,
  });
  expect(describeDifferences(found)).toBe('segments.0.encryption is "cipher_null-ecb", on record "aes-xts-plain64"');
  const many = compareLayouts(of(header()), of({}), { reencrypting: false });
  expect(describeDifferences(many)).toMatch(/; \d+ more$/u);
});

describe("what we change ourselves is no difference", () => {
  test.each<[string, (metadata: JsonObject) => void]>([
    ["a keyslot more", (metadata) => setAt(metadata, "keyslots.1", keyslot(290_816, "slot1"))],
    ["a keyslot less", (metadata) => setAt(metadata, "keyslots", {})],
    ["another keyslot with the same number", (metadata) => setAt(metadata, "keyslots.0", keyslot(290_816, "new"))],
    ["a slot's priority", (metadata) => setAt(metadata, "keyslots.0.priority", 1)],
    ["tokens", (metadata) => setAt(metadata, "tokens", {})],
    ["which slots a digest proves", (metadata) => setAt(metadata, "digests.0.keyslots", ["0", "1"])],
    ["a requirement that is over", (metadata) => setAt(metadata, "config.requirements", { mandatory: [] })],
  ])("%s", (_what, edit) => {
    const metadata = header();
    edit(metadata);
    expect(fieldsThatDiffer(of(header()), of(metadata))).toEqual([]);
  });

  test("a re-encryption, while it is ours: anything that it splits, nothing that it would not", () => {
    expect(fieldsThatDiffer(of(header()), of(reencrypted()), true)).toEqual([]);
    expect(fieldsThatDiffer(of(header()), of(reencrypted()))).not.toEqual([]);
    const over = header();
    setAt(over, "digests", { "1": digest("digest1", ["0"]) });
    setAt(over, "keyslots", { "1": keyslot(290_816, "slot1") });
    expect(fieldsThatDiffer(of(header()), of(over), true)).toEqual([]);
    for (const [place, value] of [
      ["segments.2.encryption", "serpent-xts-plain64"],
      ["segments.2.type", "linear"],
      ["segments.1.sector_size", 512],
      ["segments.1.offset", "1048576"],
      ["segments.1.integrity", { type: "aead" }],
      ["config.flags", ["no-journal"]],
      ["config.json_size", "4096"],
      ["digests.1.hash", "sha1"],
    ] as const) {
      expect(fieldsThatDiffer(of(header()), changed(place, value, reencrypted()), true).join()).toContain(place);
    }
  });
});

test.each([
  ["aes-xts-plain64", true],
  ["aes-cbc-essiv:sha256", true],
  ["twofish-xts-plain64", true],
  ["serpent-xts-plain64", true],
  ["xchacha12,aes-adiantum-plain64", true],
  ["xchacha20,aes-adiantum-plain64", true],
  ["capi:xts(aes)-plain64", true],
  ["capi:adiantum(xchacha12,aes)-plain64", true],
  ["cipher_null-ecb", false],
  ["cipher_null", false],
  ["null", false],
  ["capi:ecb(cipher_null)-null", false],
  ["capi:xts(cipher_null)-plain64", false],
  ["capi:authenc(digest_null,xts(aes))-random", false],
  ["aes-ecb", false],
  ["aes-xts-null", false],
  ["aes-cbc-plain64", false],
  ["des3_ede-cbc-essiv:sha256", false],
  ["aes-xts-plain64\n", false],
  ["", false],
])("cipher %j encrypts as far as we know: %s", (cipher, isSafe) => {
  expect(isSafeCipher(cipher)).toBe(isSafe);
});

test("a re-encryption has the area of keyslots grow, as cryptsetup does for its notes; at no other time it may", () => {
  const grown = changed("config.keyslots_size", "2064384", reencrypted());
  expect(fieldsThatDiffer(of(header()), grown, true)).toEqual([]);
  expect(fieldsThatDiffer(of(header()), changed("config.keyslots_size", "2064384"))).toEqual(["config.keyslots_size"]);
});

test("a layout reads back as it was written, and nothing else reads", () => {
  const place = stringMatching(/^[a-z%]{1,8}(?:\.[a-z0-9]{1,4}){0,3}$/u);
  assert(
    property(dictionary(place, string()), (fields) => {
      const layout = new Map(Object.entries(fields).map(([field, value]) => [field, JSON.stringify(value)]));
      expect(parseLayout(formatLayout(layout))).toEqual(layout);
    }),
  );
  assert(
    property(string(), (text) => {
      const layout = parseLayout(text);
      expect(layout === undefined || formatLayout(layout) === text).toBe(true);
    }),
  );
});

test("whatever a header holds, it is flattened, judged and compared without a throw", () => {
  assert(
    property(jsonValue(), (value) => {
      const layout = of({ segments: value, keyslots: value, digests: value, config: value, x: value } as JsonObject);
      expect(findLayoutFaults(layout)).not.toEqual([]);
      expect(compareLayouts(of(header()), layout, { reencrypting: true })).not.toEqual([]);
      expect(parseLayout(formatLayout(layout))).toEqual(layout);
    }),
  );
});

test("in short: what a record and a rule have of it", () => {
  expect(layoutFacts("")).toEqual({ digest: "", cipher: "", sectorSize: 0, offset: 0, integrity: "" });
  expect(layoutFacts(formatLayout(of(reencrypted())))).toMatchObject({
    cipher: "aes-xts-plain64",
    sectorSize: 4096,
    offset: 2_097_152,
    integrity: "",
  });
});
