import { ConfigError } from "../core/errors.ts";
import { canonicalJson } from "../core/canonical-json.ts";
import { parseYamlDocument, type TaggedNode } from "../sls/yaml.ts";
import { blockComment, quoteYaml, rewrite, type SecretPlace, secretPlaces } from "./edit-text.ts";
import { ARMOR_START } from "./secret-node.ts";

/** Ciphertext of a pillar file's text: `text.slice(start, end)` is tag and value. */
export type SealedPlace = Pick<SecretPlace, "start" | "end" | "head" | "value" | "written" | "line">;

/** As the editor and `secret set` write it. */
const QUOTED = /(!secret(?:[ \t]+&[^\s,[\]{}]+)?[ \t]+)("-----BEGIN AGE (?:[^"\\]|\\.)*")/gu;

/**
 * Every `!secret` of a pillar file's text, also of a template, which is no YAML before it is rendered: there only those in
 * double quotes on one line are seen. undefined when such a file has ciphertext written in another way.
 */
export function sealedPlaces(text: string, file: string): readonly SealedPlace[] | undefined {
  try {
    return secretPlaces(text, file);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
  }
  const places = [...text.matchAll(QUOTED)].flatMap(({ 0: whole, 1: head = "", 2: quoted = "", index }) => {
    const value = unquote(quoted);
    const line = text.slice(0, index).split("\n").length;
    return value === undefined ? [] : [{ start: index, end: index + whole.length, head, value, written: quoted, line }];
  });
  return places.length === text.split(ARMOR_START).length - 1 ? places : undefined;
}

/**
 * The text with the ciphertext of each place replaced by what `armoredOf` gives for it, on one line, and nothing else
 * changed; undefined when the new text does not read as the old one with that ciphertext in it.
 */
export function replaceSealed(
  text: string,
  file: string,
  places: readonly SealedPlace[],
  armoredOf: (value: string) => string,
): string | undefined {
  const next = rewrite(
    text,
    places,
    ({ head, value, written }) => head + quoteYaml(armoredOf(value)) + blockComment(written),
  );
  const wanted = places.map(({ value }) => armoredOf(value));
  const found = sealedPlaces(next, file)?.map(({ value }) => value) ?? [];
  const isSame =
    canonicalJson(found) === canonicalJson(wanted) && meaning(next, file, String) === meaning(text, file, armoredOf);
  return isSame ? next : undefined;
}

/** All that a file says, its ciphertext as `of` has it; "" for a template, which says nothing before it is rendered. */
function meaning(text: string, file: string, of: (value: string) => string): string {
  // no plain value begins with a NUL
  const mark = ({ tag, value }: TaggedNode) =>
    `\0${tag} ${tag === "!secret" && typeof value === "string" ? of(value) : canonicalJson(value)}`;
  try {
    const tags = { "!secret": mark, "!generate": mark };
    return canonicalJson(parseYamlDocument(text, file, { tags, secretive: true }).value);
  } catch (error) {
    if (error instanceof ConfigError) return "";
    throw error;
  }
}

function unquote(quoted: string): string | undefined {
  try {
    const value: unknown = JSON.parse(quoted);
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
