import { configErrorAt } from "../sls/located-error.ts";
import { parseYamlDocument, type YamlScalar } from "../sls/yaml.ts";
import { ARMOR_START } from "./secret-node.ts";

/** A `!secret` of a file's text and where it stands. */
export interface SecretPlace {
  /** Keys and indexes joined by colons. */
  readonly path: string;
  readonly line: number;
  /** What stands after the tag, quotes resolved: armored text, or plain text in an editor. */
  readonly value: string;
  /** The value as written (quotes or block and all), without tag, anchor and white space after it. */
  readonly written: string;
  /** White space before the tag's line, which a block's lines rest on. */
  readonly indent: string;
  /** Offsets of the whole: tag, anchor, value. */
  readonly start: number;
  readonly end: number;
  /** All that stands before the value: `!secret`, an anchor or a comment if there is one, space and line breaks. */
  readonly head: string;
}

function placeOf(text: string, { path, text: value, start, valueStart, end, line }: YamlScalar): SecretPlace {
  const written = text.slice(valueStart, end).trimEnd();
  const head = text.slice(start, valueStart);
  const lineStart = text.lastIndexOf("\n", start - 1) + 1;
  const indent = /^[ \t]*/u.exec(text.slice(lineStart))?.[0] ?? "";
  return {
    path: path.join(":"),
    line,
    value,
    written,
    indent,
    start,
    end: written === "" ? start + head.trimEnd().length : valueStart + written.length,
    head: /\s$/u.test(head) ? head : `${head} `,
  };
}

const ANY = () => "";

/**
 * Every `!secret` of a pillar file's text, in its order. Throws ConfigError `bad-yaml` with file and line, and without the
 * offending text.
 */
export function secretPlaces(text: string, file: string): readonly SecretPlace[] {
  const { scalars } = parseYamlDocument(text, file, { tags: { "!secret": ANY, "!generate": ANY }, secretive: true });
  return scalars.filter(({ tag }) => tag === "!secret").map((scalar) => placeOf(text, scalar));
}

/** A comment that stands behind the `|` of a block, and is kept behind the line that takes its place; "" without one. */
export function blockComment(written: string): string {
  return /^[|>][-+0-9]*([ \t]+#[^\r\n]*)/u.exec(written)?.[1] ?? "";
}

/** A text as one line of YAML: double quotes, everything that is not plainly visible escaped. */
export function quoteYaml(text: string): string {
  // JSON's escapes are YAML's too; what JSON leaves as it is but YAML may fold or refuse is escaped besides
  const invisible = /[\u007f-\u00a0\u2028\u2029\ufeff\ufffe\uffff]/gu;
  return JSON.stringify(text).replaceAll(invisible, (code) => `\\u${code.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The text with every place replaced by what `write` gives for it, and not a byte changed elsewhere. */
export function rewrite<P extends Pick<SecretPlace, "start" | "end">>(
  text: string,
  places: readonly P[],
  write: (place: P) => string,
): string {
  let done = "";
  let at = 0;
  for (const place of places) {
    done += text.slice(at, place.start) + write(place);
    at = place.end;
  }
  return done + text.slice(at);
}

/**
 * The text for an editor: each `!secret` that `open` can open shown as `!secret "plain text"`, the others left as they are.
 */
export function showSecrets(text: string, file: string, open: (armored: string) => string | undefined): string {
  return rewrite(text, secretPlaces(text, file), (place) => {
    const plain = open(place.value);
    return plain === undefined ? text.slice(place.start, place.end) : place.head + quoteYaml(plain);
  });
}

/** One secret of an edited text, and how it gets to the file. */
export type SecretEdit =
  /** Still the old value: its ciphertext stays, byte for byte where its surroundings allow. */
  | { readonly kind: "kept"; readonly path: string; readonly old: SecretPlace }
  /** Ciphertext that was put in by hand. */
  | { readonly kind: "sealed"; readonly path: string; readonly armored: string }
  | { readonly kind: "changed"; readonly path: string; readonly plain: string };

/**
 * Compares an edited text with the file's old one. `open` is what `showSecrets` was given. A value that moved to another
 * path keeps its ciphertext too. Throws ConfigError `empty-secret` and as `secretPlaces`.
 */
export function planEdit(
  oldText: string,
  text: string,
  file: string,
  open: (armored: string) => string | undefined,
): readonly SecretEdit[] {
  const old = secretPlaces(oldText, file).map((place) => ({ place, plain: open(place.value) }));
  return secretPlaces(text, file).map(({ path, value, line }): SecretEdit => {
    if (value.trim() === "") {
      throw configErrorAt("empty-secret", `cannot save the secret "${path}": it is empty`, { file, line }, "");
    }
    const same = old.filter(({ place, plain }) => value === plain || value === place.value);
    const kept = same.find(({ place }) => place.path === path) ?? same[0];
    if (kept) return { kind: "kept", path, old: kept.place };
    return value.trimStart().startsWith(ARMOR_START)
      ? { kind: "sealed", path, armored: value }
      : { kind: "changed", path, plain: value };
  });
}

/** Whether a multi-line value of the old file may stand in this place of the new one: same indentation, alone on its line. */
function fits(old: SecretPlace, place: SecretPlace, text: string): boolean {
  if (!old.written.includes("\n")) return true;
  return old.indent === place.indent && /^[ \t]*(?:\r?\n|$)/u.test(text.slice(place.end));
}

/** The file's new text: `armoredOf` gives the ciphertext of each changed value, in the order of the edits. */
export function sealEdit(
  text: string,
  file: string,
  edits: readonly SecretEdit[],
  armoredOf: (edit: SecretEdit & { readonly kind: "changed" }) => string,
): string {
  const queue = [...edits];
  return rewrite(text, secretPlaces(text, file), (place) => {
    const edit = queue.shift();
    if (edit === undefined || edit.kind === "sealed") return text.slice(place.start, place.end);
    if (edit.kind === "changed") return place.head + quoteYaml(armoredOf(edit)) + blockComment(place.written);
    return place.head + (fits(edit.old, place, text) ? edit.old.written : quoteYaml(edit.old.value));
  });
}
