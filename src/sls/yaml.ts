import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from "yaml";
import { ConfigError } from "../core/errors.ts";
import type { Json } from "../core/json.ts";
import { configErrorAt, lastWrittenLine, quoteLine } from "./located-error.ts";
import { didYouMean } from "./nearest.ts";
import { resolvePlain } from "./yaml-scalar.ts";

/** A node that carries a tag of the file's own, such as `!secret`. */
export interface TaggedNode {
  readonly tag: string;
  readonly kind: "scalar" | "map" | "list";
  /** A scalar's text as it stands (never turned into a number), or the collection's value. */
  readonly value: Json;
  /** Keys and indexes from the root down to the node. */
  readonly path: readonly (string | number)[];
  readonly file: string;
  readonly line: number;
}

/** A scalar and where it stands, for editing a file in place: `text.slice(start, end)` is the tag and the value. */
export interface YamlScalar {
  readonly path: readonly (string | number)[];
  /** The tag as written (`!secret`), "" when there is none. */
  readonly tag: string;
  /** The scalar's text, quotes and folding resolved. */
  readonly text: string;
  readonly style: "plain" | "quoted" | "block";
  /** Offsets in UTF-16 units: of the tag (or of the value where there is none), of the value, and after it. */
  readonly start: number;
  readonly valueStart: number;
  readonly end: number;
  readonly line: number;
}

export interface YamlOptions {
  /** What each allowed tag means; a tag that is not here is an error. */
  readonly tags?: Readonly<Record<string, (node: TaggedNode) => Json>>;
  /** Never quote the file in an error: it may hold secrets in plain text. */
  readonly secretive?: boolean;
  /** For a rendered text: the line that one of its lines was written on, which errors then name. */
  readonly sourceLine?: (line: number) => number;
}

/** A parsed file with its places. */
export interface YamlDocument {
  readonly value: Json;
  /** Every scalar that is a value (keys are not), in the order of the file. */
  readonly scalars: readonly YamlScalar[];
  /** The line of an entry of a map or list inside `value`, or of the collection itself. */
  lineOf(container: object, key?: string | number): number;
  /** True when the key was not written as a string (a number, a boolean, null). */
  oddKey(container: object, key: string): boolean;
}

/** Most values that aliases may unfold to, and deepest nesting. */
const MAX_VALUES = 1_000_000;
const MAX_DEPTH = 200;
/** What may stand between two nodes: a comment, an anchor, a tag; each begins with its sign. */
const PROPERTIES = /(?<![^\s])#[^\n]*|&[^\s,[\]{}]+|![^\s,[\]{}]*/gu;
const CORE_TAG = /^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)$/u;

interface Places {
  readonly line: number;
  readonly entries: Map<string | number, number>;
  readonly odd: Set<string>;
}

interface MapKey {
  readonly key: string;
  /** Not written as a string. */
  readonly odd: boolean;
  /** Offsets of its first character and behind its last. */
  readonly at: number;
  readonly end: number;
}

class Reader {
  readonly scalars: YamlScalar[] = [];
  readonly places = new WeakMap<object, Places>();
  readonly #anchors = new Map<string, { readonly value: Json; readonly weight: number }>();
  readonly #text: string;
  readonly #file: string;
  readonly #options: YamlOptions;
  readonly #lines: LineCounter;
  #weight = 0;

  constructor(text: string, file: string, options: YamlOptions, lines: LineCounter) {
    this.#text = text;
    this.#file = file;
    this.#options = options;
    this.#lines = lines;
  }

  error(why: string, offset: number): ConfigError {
    const { line: found, col } = this.#lines.linePos(Math.min(offset, this.#text.length));
    const line = lastWrittenLine(this.#text, Math.max(found, 1));
    const place = { file: this.#file, line: this.#source(line), ...(line === found ? { column: col } : {}) };
    const offending = this.#options.secretive === true ? "" : quoteLine(this.#text, line);
    return configErrorAt("bad-yaml", `cannot read YAML: ${why}`, place, offending);
  }

  #line(offset: number): number {
    return this.#lines.linePos(offset).line;
  }

  #source(line: number): number {
    return this.#options.sourceLine?.(line) ?? line;
  }

  #grow(weight: number, offset: number): void {
    this.#weight += weight;
    if (this.#weight > MAX_VALUES) throw this.error(`aliases unfold to more than ${MAX_VALUES} values`, offset);
  }

  /** `at` is behind whatever stands before the node's own tag and anchor. */
  value(node: Node | null, path: readonly (string | number)[], at: number): Json {
    if (path.length > MAX_DEPTH) throw this.error(`nested deeper than ${MAX_DEPTH}`, at);
    const start = node?.range?.[0] ?? at;
    this.#grow(1, start);
    if (node === null) return null;
    if (isAlias(node)) return this.#alias(node.source, start);
    const before = this.#weight;
    const value = this.#content(node, path, start, at);
    if ("anchor" in node && typeof node.anchor === "string") {
      this.#anchors.set(node.anchor, { value, weight: this.#weight - before });
    }
    return value;
  }

  #alias(name: string, start: number): Json {
    const anchor = this.#anchors.get(name);
    if (!anchor) throw this.error(`no anchor "${name}" before this alias`, start);
    this.#grow(anchor.weight, start);
    return anchor.value;
  }

  #content(node: Node, path: readonly (string | number)[], start: number, at: number): Json {
    const written = "tag" in node && typeof node.tag === "string" ? node.tag : "";
    const core = CORE_TAG.exec(written)?.[1];
    const tag = core === undefined && written.startsWith("!") && written !== "!" ? written : "";
    if (written !== "" && written !== "!" && core === undefined && tag === "") {
      throw this.error(`tag "${written}" is not allowed`, start);
    }
    const resolve = tag === "" ? undefined : this.#options.tags?.[tag];
    if (tag !== "" && !resolve) {
      throw this.error(`unknown tag "${tag}"${didYouMean(tag, Object.keys(this.#options.tags ?? {}))}`, start);
    }
    const from = tag === "" ? start : this.#tagOffset(at, start);
    const [kind, value] = this.#plainContent(node, path, start, { tag, from, core, bare: written === "" });
    if (!resolve) return value;
    return resolve({ tag, kind, value, path, file: this.#file, line: this.#line(start) });
  }

  /** Where a node's tag stands: it is looked for from the front, as a comment behind it may hold the same word. */
  #tagOffset(at: number, start: number): number {
    for (const { 0: found, index } of this.#text.slice(at, start).matchAll(PROPERTIES)) {
      if (found.startsWith("!")) return at + index;
    }
    return start;
  }

  #plainContent(
    node: Node,
    path: readonly (string | number)[],
    start: number,
    {
      tag,
      from,
      core,
      bare,
    }: { readonly tag: string; readonly from: number; readonly core: string | undefined; readonly bare: boolean },
  ): readonly [TaggedNode["kind"], Json] {
    if (isScalar(node)) {
      const text = scalarText(node.value);
      const plain = node.type === "PLAIN";
      const style = plain ? "plain" : node.type?.startsWith("BLOCK") === true ? "block" : "quoted";
      const end = node.range?.[1] ?? start;
      this.scalars.push({ path, tag, text, style, start: from, valueStart: start, end, line: this.#line(from) });
      const resolves = (bare && plain) || (core !== undefined && core !== "str");
      return ["scalar", resolves ? resolvePlain(text) : text];
    }
    if (isMap(node)) return ["map", this.#map(node.items, path, start)];
    if (isSeq(node)) return ["list", this.#list(node.items, path, start)];
    throw this.error("not a value", start);
  }

  #list(items: readonly unknown[], path: readonly (string | number)[], start: number): Json {
    const places: Places = { line: this.#line(start), entries: new Map(), odd: new Set() };
    const list: Json[] = [];
    let at = start;
    for (const [index, item] of items.entries()) {
      // a pair here is `- ? key : value` shorthand of a flow list, `[a: 1]`
      if (isPair(item)) throw this.error("a map inside a list needs braces", start);
      const node = item as Node | null;
      places.entries.set(index, this.#line(node?.range?.[0] ?? start));
      list.push(this.value(node, [...path, index], at));
      at = node?.range?.[1] ?? at;
    }
    this.places.set(list, places);
    return list;
  }

  #map(
    items: readonly { readonly key: unknown; readonly value: unknown }[],
    path: readonly (string | number)[],
    start: number,
  ): Json {
    const places: Places = { line: this.#line(start), entries: new Map(), odd: new Set() };
    const map: Record<string, Json> = {};
    const merged: Record<string, Json>[] = [];
    for (const pair of items) {
      const { key, odd, at, end } = this.#key(pair.key, start);
      const value = this.value(pair.value as Node | null, [...path, key], end);
      if (key === "<<" && !odd) {
        merged.push(...this.#mergeSources(value, at));
        continue;
      }
      if (Object.hasOwn(map, key)) {
        throw this.error(
          `duplicate key "${key}", first on line ${this.#source(places.entries.get(key) ?? places.line)}`,
          at,
        );
      }
      map[key] = value;
      places.entries.set(key, this.#line(at));
      if (odd) places.odd.add(key);
    }
    for (const source of merged) {
      for (const [key, value] of Object.entries(source)) if (!Object.hasOwn(map, key)) map[key] = value;
    }
    this.places.set(map, places);
    return map;
  }

  #mergeSources(value: Json, at: number): Record<string, Json>[] {
    const sources: readonly Json[] = Array.isArray(value) ? value : [value];
    return sources.map((source) => {
      if (typeof source !== "object" || source === null || Array.isArray(source)) {
        throw this.error("only maps can be merged with <<", at);
      }
      return source as Record<string, Json>;
    });
  }

  /** Every way to a key ends here, an alias too: whoever assigns by the name `__proto__` changes a map's prototype. */
  #key(node: unknown, start: number): MapKey {
    const found = this.#anyKey(node, start);
    if (found.key === "__proto__") throw this.error('key "__proto__" is not allowed', found.at);
    return found;
  }

  #anyKey(node: unknown, start: number): MapKey {
    if (node === null) return { key: "null", odd: true, at: start, end: start };
    if (isAlias(node)) {
      const value = this.#alias(node.source, start);
      if (typeof value !== "string") throw this.error("an alias that is a key must be text", start);
      const [at, end] = node.range ?? [start, start];
      return { key: value, odd: false, at, end };
    }
    if (!isScalar(node)) throw this.error("a key must be a scalar", start);
    const [at, end] = node.range ?? [start, start];
    this.#assertPlainKey(node.tag, at);
    const text = scalarText(node.value);
    if (typeof node.anchor === "string") this.#anchors.set(node.anchor, { value: text, weight: 1 });
    const plain = node.type === "PLAIN";
    const odd = text === "<<" ? !plain : plain && typeof resolvePlain(text) !== "string";
    return { key: text, odd, at, end };
  }

  /** A tag on a key would mean nothing: whoever wrote `!secret password: ...` believes the value to be protected. */
  #assertPlainKey(tag: unknown, at: number): void {
    if (typeof tag !== "string" || tag === "" || tag === "!" || CORE_TAG.test(tag)) return;
    const why = `cannot read YAML: the tag "${tag}" stands before a key`;
    const place = { file: this.#file, line: this.#source(this.#line(at)) };
    // the line is never quoted: its value may have been meant to be a secret
    throw configErrorAt("bad-yaml", why, place, "", {
      hint: `write it between the key and its value: \`key: ${tag} ...\``,
    });
  }
}

/** Scalars of the failsafe schema are text; an empty one is null. */
function scalarText(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** A code of the parser in words: its messages may quote the file. */
function words(code: string): string {
  return code.toLowerCase().replaceAll("_", " ");
}

/**
 * Reads one YAML document, the safe subset that Salt's users write: maps, lists, scalars as PyYAML resolves them (see
 * `resolvePlain`), anchors, aliases and `<<`. Refuses duplicate keys, tabs as indentation, more than one document, and
 * every tag that `options.tags` does not name. An empty file is null. Throws ConfigError `bad-yaml` with file, line and
 * the offending text.
 */
export function parseYamlDocument(text: string, file: string, options: YamlOptions = {}): YamlDocument {
  const lines = new LineCounter();
  const reader = new Reader(text, file, options, lines);
  try {
    const documents = parseAllDocuments(text, {
      schema: "failsafe",
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: "silent",
      lineCounter: lines,
    });
    if (!Array.isArray(documents) || documents.length === 0) {
      return { value: null, scalars: [], lineOf: () => 1, oddKey: () => false };
    }
    const broken = documents.flatMap((document) => document.errors)[0];
    if (broken) throw reader.error(options.secretive === true ? words(broken.code) : broken.message, broken.pos[0]);
    const second = documents[1];
    if (second) throw reader.error("more than one document", second.range[0]);
    const value = reader.value(documents[0]?.contents ?? null, [], 0);
    return {
      value,
      scalars: reader.scalars,
      lineOf: (container, key) => {
        const places = reader.places.get(container);
        return (key === undefined ? undefined : places?.entries.get(key)) ?? places?.line ?? 1;
      },
      oddKey: (container, key) => reader.places.get(container)?.odd.has(key) === true,
    };
  } catch (thrown) {
    if (thrown instanceof ConfigError) throw thrown;
    // the parser recurses on nesting: a hostile file ends its stack
    if (thrown instanceof RangeError) throw reader.error("nested too deep", 0);
    if (options.secretive === true) throw reader.error("not YAML", 0);
    throw reader.error(thrown instanceof Error ? thrown.message : "not YAML", 0);
  }
}

/** The value of one YAML document; see `parseYamlDocument`. */
export function parseYaml(text: string, file: string, options: YamlOptions = {}): Json {
  return parseYamlDocument(text, file, options).value;
}
