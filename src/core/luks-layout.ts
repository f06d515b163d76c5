import { canonicalJson } from "./canonical-json.ts";
import { sha256 } from "./crypto/hash.ts";
import { isJsonObject, type Json, type JsonObject } from "./json.ts";
import { readLuksInteger, readLuksNumber } from "./luks-number.ts";

/** Most characters of a layout: 32 keyslots described at length are some 20,000. */
export const MAX_LAYOUT_CHARS = 32 * 1024;

/**
 * What a LUKS header says of how and where its volume is encrypted: names of fields such as `segments.0.encryption`, with what
 * stands there as JSON, so that the text "4096" is not the number 4096. Lists of scalars are sets, sorted, and none when they are
 * empty; texts that are salts and digests are marks (16 hex digits of their SHA-256). No label, token, priority or number of writes:
 * what changes in those changes no encryption.
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

const MAX_NAME = 64;

/** No two names have the same: each character that a field has no room for ends in ";", and "~" is only before a digest. */
function nameOf(part: string): string {
  if (part === "") return "%;";
  const name = part.replaceAll(/[^\w-]/gu, (character) => `%${(character.codePointAt(0) ?? 0).toString(16)};`);
  if (name.length <= MAX_NAME) return name;
  // with lone surrogates too, for which UTF-8 has one and the same sign
  const digest = sha256(Buffer.from(part, "utf16le")).toString("hex", 0, 16);
  return `${name.slice(0, MAX_NAME - 1 - digest.length)}~${digest}`;
}

const markOf = (text: string): string => sha256(Buffer.from(text)).toString("hex", 0, 8);
/** A value as a layout has it. */
const valueOf = (value: Json): string =>
  Array.isArray(value)
    ? `[${value
        .map((item: Json) => canonicalJson(item))
        .toSorted()
        .join(",")}]`
    : canonicalJson(value);

/** More fields than MAX_LAYOUT_CHARS has room for: a header with as many is refused for its length, whatever else it says. */
const MAX_FIELDS = 8192;

function flatten(into: Map<string, string>, place: string, value: Json | undefined, leftOut: readonly string[]): void {
  if (value === undefined || into.size > MAX_FIELDS) return;
  if (isJsonObject(value)) {
    const inner = Object.entries(value).filter(([key]) => !leftOut.includes(key));
    // that there is an entry with nothing in it is something
    if (inner.length === 0) into.set(place, "{}");
    for (const [key, held] of inner) flatten(into, `${place}.${nameOf(key)}`, held, []);
    return;
  }
  const name = place.slice(place.lastIndexOf(".") + 1);
  // lists of the format are sets: of flags, segments, requirements
  if (Array.isArray(value) && value.length === 0) return;
  into.set(place, typeof value === "string" && MARKED.has(name) ? JSON.stringify(markOf(value)) : valueOf(value));
}

/**
 * The layout of a header: all that is security relevant in it, also fields that nobody here knows. Source: LUKS2 On-Disk Format
 * Specification 1.1, section 3. Of LUKS1 only the version and the UUID.
 */
export function layoutOf({ version, uuid, metadata }: Header): LuksLayout {
  const found = new Map<string, string>([
    ["version", String(version)],
    ["uuid", JSON.stringify(uuid)],
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
  const others = Object.entries(metadata).filter(([key]) => !OWN_SECTIONS.has(key));
  for (const [key, value] of others) flatten(found, `other.${nameOf(key)}`, value, []);
  return found;
}

/** A layout as it is sent, signed and kept: a line a field, sorted, the value as JSON. */
export function formatLayout(layout: LuksLayout): string {
  return [...layout]
    .map(([field, value]) => `${field} ${value}`)
    .toSorted()
    .join("\n");
}

/** What stands in a field when it is written as a layout has it; undefined otherwise. */
function readValue(text: string): Json | undefined {
  try {
    const value = JSON.parse(text) as Json;
    return valueOf(value) === text ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The way back; undefined for text that `formatLayout` did not write. "" is the empty layout: there is no header. */
export function parseLayout(text: string): LuksLayout | undefined {
  const found = new Map<string, string>();
  for (const line of text === "" ? [] : text.split("\n")) {
    const space = line.indexOf(" ");
    const value = line.slice(space + 1);
    if (space <= 0 || readValue(value) === undefined) return undefined;
    found.set(line.slice(0, space), value);
  }
  return formatLayout(found) === text ? found : undefined;
}

/** The text that stands in a field; undefined where there is none, or something else. */
export function textIn(layout: LuksLayout, field: string): string | undefined {
  const value = readValue(layout.get(field) ?? "");
  return typeof value === "string" ? value : undefined;
}

/** The number that a field has as a text of digits, such as an offset; NaN where there is none, or something else. */
export function numberIn(layout: LuksLayout, field: string): number {
  return readLuksNumber(textIn(layout, field)) ?? Number.NaN;
}

/** The number that a field has as JSON's own, such as the size of a sector; NaN where there is none, or something else. */
export function integerIn(layout: LuksLayout, field: string): number {
  return readLuksInteger(readValue(layout.get(field) ?? "")) ?? Number.NaN;
}

/** The texts in a field's list, none where there is no field; undefined for anything but a list of texts. */
export function listIn(layout: LuksLayout, field: string): readonly string[] | undefined {
  const text = layout.get(field);
  const value = text === undefined ? [] : readValue(text);
  if (!Array.isArray(value)) return undefined;
  const items = value.filter((item: Json) => typeof item === "string");
  return items.length === value.length ? items : undefined;
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
  return listIn(layout, "config.requirements.mandatory")?.some((one) => one.includes("reencrypt")) === true;
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
  const fields = (name: string) => entriesOf(layout, "segments").map((entry) => `segments.${entry}.${name}`);
  const all = (name: string) => [...new Set(fields(name).flatMap((field) => textIn(layout, field) ?? []))];
  const sectors = fields("sector_size").map((field) => integerIn(layout, field));
  const offsets = fields("offset").map((field) => numberIn(layout, field));
  const exact = (numbers: readonly number[]) => numbers.filter(Number.isSafeInteger);
  return {
    digest: text === "" ? "" : sha256(Buffer.from(text)).toString("hex"),
    cipher: all("encryption").join(",").slice(0, 200),
    sectorSize: Math.max(0, ...exact(sectors)),
    offset: exact(offsets).length === 0 ? 0 : Math.min(...exact(offsets)),
    integrity: all("integrity.type").join(",").slice(0, 200),
  };
}
