import { sha256 } from "./crypto/hash.ts";
import { isJsonObject, type Json, type JsonObject } from "./json.ts";
import { readLuksNumber } from "./luks-number.ts";

/** Most characters of a layout: 32 keyslots described at length are some 20,000. */
export const MAX_LAYOUT_CHARS = 32 * 1024;

/**
 * What a LUKS header says of how and where its volume is encrypted: names of fields such as `segments.0.encryption`, with what
 * stands there as text. Salts and digests are marks (16 hex digits of their SHA-256). No label, token, priority or number of
 * writes: what changes in those changes no encryption.
 */
export type LuksLayout = ReadonlyMap<string, string>;

/** A header that reads, as `readLuksHeader` of the states gives it. */
interface Header {
  readonly version: 1 | 2;
  readonly uuid: string;
  readonly metadata: JsonObject;
}

const MARKED: ReadonlySet<string> = new Set(["digest", "salt"]);
const OWN_SECTIONS: ReadonlySet<string> = new Set(["keyslots", "tokens", "segments", "digests", "config"]);

const nameOf = (part: string): string =>
  part.replaceAll(/[^\w-]/gu, (character) => `%${(character.codePointAt(0) ?? 0).toString(16)}`).slice(0, 64);
const markOf = (text: string): string => sha256(Buffer.from(text)).toString("hex", 0, 8);
const textOf = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));

/** More fields than MAX_LAYOUT_CHARS has room for: a header with as many is refused for its length, whatever else it says. */
const MAX_FIELDS = 8192;

function flatten(into: Map<string, string>, place: string, value: Json | undefined, leftOut: readonly string[]): void {
  if (value === undefined || into.size > MAX_FIELDS) return;
  if (isJsonObject(value)) {
    for (const [key, inner] of Object.entries(value)) {
      if (!leftOut.includes(key)) flatten(into, place === "" ? nameOf(key) : `${place}.${nameOf(key)}`, inner, []);
    }
    return;
  }
  const name = place.slice(place.lastIndexOf(".") + 1);
  // lists of the format are sets: of flags, segments, requirements
  const text = Array.isArray(value) ? value.map(textOf).toSorted().join(",") : textOf(value);
  if (Array.isArray(value) && value.length === 0) return;
  into.set(place, MARKED.has(name) ? markOf(text) : text);
}

/**
 * The layout of a header: all that is security relevant in it, also fields that nobody here knows. Source: LUKS2 On-Disk Format
 * Specification 1.1, section 3. Of LUKS1 only the version and the UUID.
 */
export function layoutOf({ version, uuid, metadata }: Header): LuksLayout {
  const found = new Map<string, string>([
    ["version", String(version)],
    ["uuid", uuid],
  ]);
  const each = (section: string, leftOut: readonly string[]) => {
    const entries = metadata[section];
    if (!isJsonObject(entries)) return flatten(found, section, entries, []);
    for (const [key, value] of Object.entries(entries)) flatten(found, `${section}.${nameOf(key)}`, value, leftOut);
  };
  each("keyslots", ["priority"]);
  each("segments", []);
  each("digests", ["keyslots"]);
  flatten(found, "config", metadata["config"], []);
  const others = Object.fromEntries(Object.entries(metadata).filter(([key]) => !OWN_SECTIONS.has(key)));
  flatten(found, "other", others, []);
  return found;
}

/** A layout as it is sent, signed and kept: a line a field, sorted, the value as a JSON string. */
export function formatLayout(layout: LuksLayout): string {
  return [...layout]
    .map(([field, value]) => `${field} ${JSON.stringify(value)}`)
    .toSorted()
    .join("\n");
}

/** The way back; undefined for text that `formatLayout` did not write. "" is the empty layout: there is no header. */
export function parseLayout(text: string): LuksLayout | undefined {
  const found = new Map<string, string>();
  for (const line of text === "" ? [] : text.split("\n")) {
    const space = line.indexOf(" ");
    try {
      const value: unknown = JSON.parse(line.slice(space + 1));
      if (space <= 0 || typeof value !== "string") return undefined;
      found.set(line.slice(0, space), value);
    } catch {
      return undefined;
    }
  }
  return formatLayout(found) === text ? found : undefined;
}

/** The numbers or names that a section of a layout has entries of, such as `segments`: `["0"]`. */
export function entriesOf(layout: LuksLayout, section: string): readonly string[] {
  const names = [...layout.keys()].filter((field) => field.startsWith(`${section}.`));
  return [...new Set(names.map((field) => field.split(".")[1] ?? ""))].toSorted();
}

/** The fields of one entry, by their names within it. */
export function fieldsOf(layout: LuksLayout, section: string, entry: string): LuksLayout {
  const prefix = `${section}.${entry}.`;
  return new Map(
    [...layout].flatMap(([field, value]) => (field.startsWith(prefix) ? [[field.slice(prefix.length), value]] : [])),
  );
}

/** Whether the header says that a re-encryption is under way. */
export function saysReencrypting(layout: LuksLayout): boolean {
  return layout.get("config.requirements.mandatory")?.includes("reencrypt") === true;
}

/** What of a layout a lease's record, and a release rule, have in plain. */
export interface LayoutFacts {
  /** SHA-256 of the layout's text, hex; "" for no header. */
  readonly digest: string;
  /** Ciphers of the segments, each once, with a comma between; "" for none. */
  readonly cipher: string;
  /** Bytes; 0 when it is not said. */
  readonly sectorSize: number;
  /** Where the data begins, bytes; 0 when it is not said. */
  readonly offset: number;
  /** Such as `hmac(sha256)`; "" for none. */
  readonly integrity: string;
}

/** The same in short. */
export function layoutFacts(text: string): LayoutFacts {
  const layout = parseLayout(text) ?? new Map<string, string>();
  const all = (field: string) => [
    ...new Set(entriesOf(layout, "segments").flatMap((entry) => layout.get(`segments.${entry}.${field}`) ?? [])),
  ];
  const numbers = (field: string) => all(field).flatMap((text) => readLuksNumber(text) ?? []);
  return {
    digest: text === "" ? "" : sha256(Buffer.from(text)).toString("hex"),
    cipher: all("encryption").join(",").slice(0, 200),
    sectorSize: Math.max(0, ...numbers("sector_size")),
    offset: numbers("offset").length === 0 ? 0 : Math.min(...numbers("offset")),
    integrity: all("integrity.type").join(",").slice(0, 200),
  };
}
