import { entriesOf, type LuksLayout } from "./luks-layout.ts";
import { readLuksId } from "./luks-number.ts";

const names = (all: string): ReadonlySet<string> => new Set(all.split(" "));

/**
 * Every field that a LUKS2 header has beside labels, tokens and priorities (specification 1.1, section 3, and what cryptsetup 2.8
 * writes for what is allowed here), by section: within an entry, or within `config`.
 */
const KNOWN: Readonly<Record<string, ReadonlySet<string>>> = {
  keyslots: names(
    "type key_size mode direction af.type af.stripes af.hash kdf.type kdf.salt kdf.hash kdf.iterations kdf.time kdf.memory kdf.cpus area.type area.offset area.size area.encryption area.key_size area.hash area.sector_size area.shift_size",
  ),
  segments: names(
    "type offset size iv_tweak encryption sector_size flags integrity.type integrity.journal_encryption integrity.journal_integrity integrity.key_size",
  ),
  digests: names("type segments salt digest hash iterations"),
  config: names("json_size keyslots_size flags requirements.mandatory"),
};

/** Why a field is none of a header's, as the end of a sentence; undefined for one that is. */
function strangeness(field: string): string | undefined {
  if (field === "version" || field === "uuid") return undefined;
  const [section = "", entry = "", ...rest] = field.split(".");
  const known = KNOWN[section];
  if (section === "other" || known === undefined) return "is in no section that is known";
  if (section === "config") return known.has([entry, ...rest].join(".")) ? undefined : "is no field that is known";
  if (entry === "") return "is no section of a header";
  if (readLuksId(entry) === undefined) return "has no number that an entry can have";
  return known.has(rest.join(".")) ? undefined : "is no field that is known";
}

/** Fields of a layout that nobody here knows, each with why: what they would do to the data is not known either. */
export function findStrangeFields(layout: LuksLayout): readonly (readonly [field: string, why: string])[] {
  return [...layout.keys()].flatMap((field) => {
    const why = strangeness(field);
    return why === undefined ? [] : [[field, why] as const];
  });
}

/** Sections with more entries than the format has numbers for. */
export function overfullSections(layout: LuksLayout, max: number): readonly string[] {
  return ["segments", "keyslots", "digests"].filter((section) => entriesOf(layout, section).length > max);
}
