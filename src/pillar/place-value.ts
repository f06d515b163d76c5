import { canonicalJson } from "../core/canonical-json.ts";
import { ConfigError } from "../core/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import type { TaggedNode } from "../sls/yaml.ts";
import { parseYamlDocument, type YamlDocument } from "../sls/yaml.ts";
import { blockComment, quoteYaml } from "./edit-text.ts";

const PLAIN_KEY = /^(?!(?:true|false|yes|no|on|off|null|y|n)$)[a-z_][a-z0-9_-]*$/iu;
/** A tagged value as text that no plain value can be: it begins with a NUL. */
const mark = ({ tag, value }: TaggedNode) => `\0${tag} ${typeof value === "string" ? value : ""}`;
const TAGS = { "!secret": mark, "!generate": mark };

const read = (text: string, file: string) => parseYamlDocument(text, file, { tags: TAGS, secretive: true });
const own = (map: JsonObject, key: string) => (Object.hasOwn(map, key) ? map[key] : undefined);

/** How `written` reads: the value that a file has at a path when it stands there. */
const valueOf = (written: string, file: string) => read(`v: ${written}\n`, file).value;

/** The value with another one at a path, missing maps made on the way; undefined where that cannot be. */
function withValue(value: Json | undefined, [key, ...rest]: readonly string[], set: Json): Json | undefined {
  if (key === undefined) return set;
  if (Array.isArray(value)) {
    const list: readonly Json[] = value;
    const index = Number(key);
    const item = withValue(list[index], rest, set);
    return item === undefined || !(index in list) ? undefined : list.with(index, item);
  }
  const map = value ?? {};
  if (!isJsonObject(map)) return undefined;
  const inner = withValue(own(map, key), rest, set);
  return inner === undefined ? undefined : { ...map, [key]: inner };
}

function replaced(text: string, document: YamlDocument, path: string, written: string): string | undefined {
  const scalar = document.scalars.find((each) => each.path.join(":") === path);
  if (!scalar) return undefined;
  const { tag, start, valueStart, end } = scalar;
  const old = text.slice(valueStart, end).trimEnd();
  const blank = text[start - 1] === ":" ? " " : "";
  if (tag === "") return text.slice(0, start) + blank + written + text.slice(valueStart + old.length);
  // what stands between the tag and its value, an anchor or a comment, stays between them
  const tagEnd = start + tag.length;
  const between = text.slice(tagEnd, valueStart);
  const behind = old === "" ? tagEnd + between.trimEnd().length : valueStart + old.length;
  const [newTag = "", value] = written.split(/ (.*)/su, 2);
  const gap = old === "" ? `${between.trimEnd()} ` : between;
  const now = value === undefined ? between.trimEnd() : gap + value + blockComment(old);
  return text.slice(0, start) + blank + newTag + now + text.slice(behind);
}

/** Lines that say `written` below the keys, the first one indented so far. */
function blockOf(keys: readonly string[], indent: string, written: string): string {
  const lines = keys.map((key, depth) => {
    const name = PLAIN_KEY.test(key) ? key : quoteYaml(key);
    return `${indent}${"  ".repeat(depth)}${name}:${depth === keys.length - 1 ? ` ${written}` : ""}\n`;
  });
  return lines.join("");
}

/** A new entry in front of the first one of the deepest map that is there already; at the end for the whole file's map. */
function inserted(text: string, document: YamlDocument, keys: readonly string[], written: string): string {
  let at: Json | undefined = document.value;
  let depth = 0;
  for (; depth < keys.length - 1 && isJsonObject(at); depth += 1) {
    const below = own(at, keys[depth] ?? "");
    if (below === undefined) break;
    at = below;
  }
  const rest = keys.slice(depth);
  const first = isJsonObject(at) ? Object.keys(at)[0] : undefined;
  if (depth === 0 || !isJsonObject(at) || first === undefined) {
    return `${text}${text === "" || text.endsWith("\n") ? "" : "\n"}${blockOf(rest, "", written)}`;
  }
  const lines = text.split("\n");
  const line = document.lineOf(at, first) - 1;
  const indent = /^ */u.exec(lines[line] ?? "")?.[0] ?? "";
  return [...lines.slice(0, line), blockOf(rest, indent, written).slice(0, -1), ...lines.slice(line)].join("\n");
}

/**
 * A pillar file's text with `written` (such as `!generate`) as the value at a path: in place of the one scalar that is
 * there, or as a new entry. Nothing else changes, which is proven by reading both texts. Throws ConfigError
 * `not-placed` where that cannot be done (a list or map is there, or the file writes its maps in one line), `bad-yaml`.
 */
export function placeValue(text: string, file: string, path: string, written: string): string {
  const keys = path.split(":");
  const document = read(text, file);
  const marked = valueOf(written, file);
  const wanted = withValue(document.value, keys, (isJsonObject(marked) ? own(marked, "v") : undefined) ?? "");
  const result = replaced(text, document, path, written) ?? inserted(text, document, keys, written);
  if (wanted !== undefined && keys.every((key) => key !== "" && key !== "__proto__") && says(result, file, wanted)) {
    return result;
  }
  throw new ConfigError("not-placed", `cannot put "${path}" into "${file}": the file has no plain place for it`, {
    hint: "write the line with `latchkey pillar edit`",
    facts: { file },
  });
}

function says(text: string, file: string, wanted: Json): boolean {
  try {
    return canonicalJson(read(text, file).value) === canonicalJson(wanted);
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}
