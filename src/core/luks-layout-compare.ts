import { entriesOf, fieldsOf, type LuksLayout, numberIn } from "./luks-layout.ts";
import { asOldLayout, isOldLayout } from "./luks-layout-old.ts";

/** A field of a header that is not as it is on record: what stands there as JSON, "" for one that is not there. */
export interface LayoutDifference {
  readonly field: string;
  readonly from: string;
  readonly to: string;
}

/** How a header on record is compared. */
export interface CompareOptions {
  /** The volume is being re-encrypted by us: what a re-encryption changes in a header differs by right. */
  readonly reencrypting: boolean;
}

const KEYSLOT = /^keyslots\./u;
/** What a re-encryption with the same cipher changes in segments and digests. */
const SPLIT = /^segments\.\d+\.(?:offset|size|iv_tweak|flags)$/u;
/** cryptsetup makes room for its notes: the area of keyslots grows to where the data begins. */
const REENCRYPTED = /^(?:segments|digests)\.|^config\.(?:requirements\.|keyslots_size$)/u;

/** Of each keyslot on record that is still there, told by its salt, all that it says; slots come and go with keys. */
function compareKeyslots(known: LuksLayout, found: LuksLayout): readonly LayoutDifference[] {
  const saltOf = (layout: LuksLayout, entry: string) => layout.get(`keyslots.${entry}.kdf.salt`) ?? "";
  const before = new Map(entriesOf(known, "keyslots").map((entry) => [saltOf(known, entry), entry]));
  return entriesOf(found, "keyslots").flatMap((entry) => {
    const salt = saltOf(found, entry);
    const was = salt === "" ? undefined : before.get(salt);
    if (was === undefined) return [];
    return differences(fieldsOf(known, "keyslots", was), fieldsOf(found, "keyslots", entry), `keyslots.${entry}.`);
  });
}

function differences(known: LuksLayout, found: LuksLayout, prefix = ""): LayoutDifference[] {
  const fields = [...new Set([...known.keys(), ...found.keys()])].toSorted();
  return fields.flatMap((field) => {
    const from = known.get(field) ?? "";
    const to = found.get(field) ?? "";
    return from === to && known.has(field) === found.has(field) ? [] : [{ field: `${prefix}${field}`, from, to }];
  });
}

/** Values of one field over all entries of a section. */
const valuesOf = (layout: LuksLayout, section: string, field: string): readonly string[] =>
  entriesOf(layout, section).map((entry) => layout.get(`${section}.${entry}.${field}`) ?? "");

/**
 * While a volume is being re-encrypted its segments are split and there are two volume keys: where each piece lies is the
 * re-encryption's, how it is encrypted is not.
 */
function compareReencrypted(known: LuksLayout, found: LuksLayout): readonly LayoutDifference[] {
  const named: LayoutDifference[] = [];
  const start = Math.min(...entriesOf(known, "segments").map((entry) => numberIn(known, `segments.${entry}.offset`)));
  for (const [field, to] of found) {
    if (!REENCRYPTED.test(field)) continue;
    const [section = "", entry = "", ...rest] = field.split(".");
    if (section === "config") continue;
    const name = rest.join(".");
    if (section === "digests" && ["salt", "digest", "iterations", "segments"].includes(name)) continue;
    if (SPLIT.test(field)) {
      const isBelow = name === "offset" && !(numberIn(found, field) >= start);
      if (isBelow) named.push({ field, from: JSON.stringify(String(start)), to });
      continue;
    }
    const allowed = valuesOf(known, section, name);
    if (!allowed.includes(to)) named.push({ field: `${section}.${entry}.${name}`, from: allowed[0] ?? "", to });
  }
  // what every segment on record has, such as integrity, none may lack
  for (const entry of entriesOf(found, "segments")) {
    for (const [name, from] of fieldsOf(known, "segments", "0")) {
      const field = `segments.${entry}.${name}`;
      if (!SPLIT.test(field) && !found.has(field)) named.push({ field, from, to: "" });
    }
  }
  return named;
}

/**
 * Where a header differs from the one on record, field by field: every field but those of keyslots that are new or gone. Empty
 * when it is the header that is known. One that was kept before values had types is compared without them.
 */
export function compareLayouts(
  known: LuksLayout,
  now: LuksLayout,
  { reencrypting }: CompareOptions,
): readonly LayoutDifference[] {
  const found = isOldLayout(known) && !isOldLayout(now) ? asOldLayout(now) : now;
  const rest = (layout: LuksLayout) =>
    new Map([...layout].filter(([field]) => !KEYSLOT.test(field) && !(reencrypting && REENCRYPTED.test(field))));
  return [
    ...differences(rest(known), rest(found)),
    ...(reencrypting ? compareReencrypted(known, found) : []),
    ...compareKeyslots(known, found),
  ];
}

const said = (value: string) => (value === "" ? "nothing" : value.slice(0, 80));

/** Differences in one line, for a message: `segments.0.encryption is "cipher_null-ecb", on record "aes-xts-plain64"`. */
export function describeDifferences(all: readonly LayoutDifference[]): string {
  const shown = all.slice(0, 6).map(({ field, from, to }) => `${field} is ${said(to)}, on record ${said(from)}`);
  const more = all.length > shown.length ? [`${all.length - shown.length} more`] : [];
  return [...shown, ...more].join("; ");
}
