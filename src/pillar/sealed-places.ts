import { ConfigError } from "../core/errors.ts";
import { type SecretPlace, secretPlaces } from "./edit-text.ts";
import { ARMOR_START } from "./secret-node.ts";

/** Ciphertext of a pillar file's text: `text.slice(start, end)` is tag and value. */
export type SealedPlace = Pick<SecretPlace, "start" | "end" | "head" | "value" | "line">;

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
    return value === undefined ? [] : [{ start: index, end: index + whole.length, head, value, line }];
  });
  return places.length === text.split(ARMOR_START).length - 1 ? places : undefined;
}

function unquote(quoted: string): string | undefined {
  try {
    const value: unknown = JSON.parse(quoted);
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
