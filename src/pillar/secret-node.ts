import type { ConfigError } from "../core/errors.ts";
import type { Json } from "../core/json.ts";
import { configErrorAt } from "../sls/located-error.ts";
import type { TaggedNode } from "../sls/yaml.ts";

/** A secret as a pillar file names it: encrypted in place, or made by the master at first use. */
export type SecretNode =
  | { readonly kind: "secret"; readonly armored: string; readonly file: string; readonly line: number }
  | { readonly kind: "generate"; readonly file: string; readonly line: number };

/** The first line of armored age text; what starts with it is ciphertext, whatever else is written around it. */
export const ARMOR_START = "-----BEGIN AGE ENCRYPTED FILE-----";

/** Longest path of a secret, as `encodeURIComponent` writes it: it becomes part of a store key. */
const MAX_PATH_CHARACTERS = 200;

// A parsed file is plain JSON, and a secret in it this placeholder; which node it stands for only this module knows, so
// that nothing written in a file can pass for one.
const nodes = new WeakMap<object, SecretNode>();

/** The secret that a value of a parsed pillar file stands for; undefined for plain values. */
export function secretNodeOf(value: Json): SecretNode | undefined {
  return typeof value === "object" && value !== null ? nodes.get(value) : undefined;
}

function placeholder(node: SecretNode): Json {
  const value = Object.freeze({ [`!${node.kind}`]: "" });
  nodes.set(value, node);
  return value;
}

function refuse({ file, line, tag, path }: TaggedNode, why: string, hint?: string): ConfigError {
  const at = path.length === 0 ? "" : ` at "${path.join(":")}"`;
  // never quotes the file: plain text under the tag is a secret all the same
  return configErrorAt(
    "bad-pillar",
    `cannot use ${tag}${at}: ${why}`,
    { file, line },
    "",
    hint === undefined ? {} : { hint },
  );
}

/**
 * Checks a `!secret` or `!generate` of a pillar file at rest. Throws ConfigError `bad-pillar` with file and line: a secret
 * in plain text or empty, `!generate` with a value.
 */
function readSecretNode(node: TaggedNode): SecretNode {
  const { tag, kind, value, file, line } = node;
  if (kind !== "scalar" || typeof value !== "string") throw refuse(node, "it takes one text, not a list or map");
  if (node.path.length === 0) throw refuse(node, "the whole file cannot be one secret");
  if (tag === "!generate") {
    if (value.trim() !== "") throw refuse(node, "the master makes the value, write nothing after it");
    return { kind: "generate", file, line };
  }
  if (value.trim() === "") throw refuse(node, "it is empty");
  if (!value.trimStart().startsWith(ARMOR_START)) {
    throw refuse(
      node,
      "the value is not encrypted",
      "put it in with `latchkey pillar edit`, or as armored text of `age -a -r`",
    );
  }
  return { kind: "secret", armored: value, file, line };
}

const read = (node: TaggedNode) => placeholder(readSecretNode(node));

/** What the tags of a pillar file at rest mean, for the YAML reader. */
export const PILLAR_TAGS: Readonly<Record<string, (node: TaggedNode) => Json>> = { "!secret": read, "!generate": read };

/** Throws ConfigError `bad-pillar` when the path cannot name a secret: a colon in a key, or too long. */
export function assertSecretPath(keys: readonly string[], { file, line }: SecretNode): string {
  const path = keys.join(":");
  const colon = keys.find((key) => key.includes(":"));
  const why =
    colon === undefined
      ? encodeURIComponent(path).length > MAX_PATH_CHARACTERS && "its path is too long"
      : `the key "${colon}" has a colon in it, which parts the keys of a path`;
  if (why === false) return path;
  throw configErrorAt("bad-pillar", `cannot use the secret "${path}": ${why}`, { file, line }, "");
}
