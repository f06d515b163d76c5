import { ConfigError } from "../core/errors.ts";
import { isJsonObject, type Json } from "../core/json.ts";
import type { Rendered } from "./line-marks.ts";
import { configErrorAt, quoteLine } from "./located-error.ts";
import { parseYamlDocument, type YamlDocument } from "./yaml.ts";

/** One argument of a declaration, as written. */
export interface Argument {
  readonly key: string;
  readonly value: Json;
  readonly line: number;
}

/** A state of an id, before names, defaults and requisites: `id: { state.fun: [arguments] }`. */
export interface Declaration {
  readonly id: string;
  readonly sls: string;
  readonly file: string;
  readonly line: number;
  readonly state: string;
  /** "" where only `extend` may leave it out. */
  readonly fun: string;
  readonly args: readonly Argument[];
}

/** A name with its line, such as an include. */
export interface Mention {
  readonly name: string;
  readonly line: number;
}

/** What one SLS file says. */
export interface SlsFile {
  readonly sls: string;
  readonly file: string;
  readonly includes: readonly Mention[];
  readonly excludes: readonly (Mention & { readonly kind: "id" | "sls" })[];
  readonly extends: readonly Declaration[];
  readonly declarations: readonly Declaration[];
}

/** An SLS file as it is written, and as it was rendered. */
export interface Written extends Rendered {
  readonly text: string;
}

/** Collects every mistake of a file instead of stopping at the first. */
class Reader {
  readonly errors: ConfigError[] = [];
  readonly #written: Written;
  readonly #sls: string;
  readonly #file: string;
  readonly #document: YamlDocument;

  constructor(written: Written, sls: string, file: string, document: YamlDocument) {
    this.#written = written;
    this.#sls = sls;
    this.#file = file;
    this.#document = document;
  }

  /** `line` is one of the rendered text, as everywhere in here; what leaves names the file's own. */
  #fail(why: string, line: number, hint?: string): void {
    const place = { file: this.#file, line: this.#written.sourceLine(line) };
    const extra = hint === undefined ? {} : { hint };
    this.errors.push(configErrorAt("bad-sls", why, place, quoteLine(this.#written.text, place.line), extra));
  }

  read(): SlsFile {
    const top = this.#document.value;
    const empty = { sls: this.#sls, file: this.#file, includes: [], excludes: [], extends: [], declarations: [] };
    if (top === null) return empty;
    if (!isJsonObject(top)) {
      this.#fail(`SLS "${this.#sls}" is not a map of ids`, 1);
      return empty;
    }
    const { include = [], exclude = [], extend = {}, ...rest } = top;
    const ids = Object.fromEntries(Object.entries(rest).filter(([id]) => !id.startsWith("__")));
    return {
      ...empty,
      includes: this.#includes(include, top),
      excludes: this.#excludes(exclude, top),
      extends: isJsonObject(extend) ? this.#bodies(extend, extend, true) : this.#notMap("extend", top),
      declarations: this.#bodies(ids, top, false),
    };
  }

  #notMap(key: string, top: object): [] {
    this.#fail(`"${key}" is not a map`, this.#document.lineOf(top, key));
    return [];
  }

  #list(value: Json, key: string, top: object): readonly Json[] {
    if (Array.isArray(value)) return value as readonly Json[];
    if (value !== null) this.#fail(`"${key}" needs a list`, this.#document.lineOf(top, key));
    return [];
  }

  #includes(value: Json, top: object): readonly Mention[] {
    const list = this.#list(value, "include", top);
    return list.flatMap((item, index) => {
      const line = this.#document.lineOf(list, index);
      const name = isJsonObject(item) && Object.keys(item).join() === "base" ? item["base"] : item;
      if (typeof name === "string") return [{ name, line: this.#written.sourceLine(line) }];
      this.#fail("an include is not the name of an SLS", line);
      return [];
    });
  }

  #excludes(value: Json, top: object): SlsFile["excludes"] {
    const list = this.#list(value, "exclude", top);
    return list.flatMap((item, index) => {
      const line = this.#document.lineOf(list, index);
      const written = this.#written.sourceLine(line);
      if (typeof item === "string") return [{ kind: "sls" as const, name: item, line: written }];
      const [kind, name] = isJsonObject(item) ? (Object.entries(item)[0] ?? []) : [];
      if ((kind === "sls" || kind === "id") && typeof name === "string") return [{ kind, name, line: written }];
      this.#fail('an exclude is not "sls: name" or "id: name"', line);
      return [];
    });
  }

  #bodies(ids: Readonly<Record<string, Json>>, container: object, extending: boolean): readonly Declaration[] {
    // objects put keys that look like numbers first: go by the lines instead
    const written = Object.entries(ids).map(([id, body]) => ({ id, body, line: this.#document.lineOf(container, id) }));
    written.sort((one, other) => one.line - other.line);
    return written.flatMap(({ id, body, line }) => {
      if (this.#document.oddKey(container, id)) {
        this.#fail(`id ${id} in SLS "${this.#sls}" is not text`, line, "put it in quotes");
        return [];
      }
      return this.#body(id, body, line, extending);
    });
  }

  #body(id: string, body: Json, line: number, extending: boolean): readonly Declaration[] {
    if (typeof body === "string") {
      if (body.includes(".")) return this.#declare({ id, line, key: body, args: [], extending });
      this.#fail(`id "${id}" names no function`, line, 'write it as "module.function"');
      return [];
    }
    if (!isJsonObject(body)) {
      this.#fail(`id "${id}" in SLS "${this.#sls}" is not a map of states`, line);
      return [];
    }
    const entries = Object.entries(body).filter(([key]) => !key.startsWith("__"));
    if (entries.length === 0) this.#fail(`id "${id}" declares no state`, line);
    const seen = new Set<string>();
    return entries.flatMap(([key, value]) => {
      const at = this.#document.lineOf(body, key);
      const module = key.split(".")[0] ?? "";
      if (seen.has(module)) {
        this.#fail(`id "${id}" declares "${module}" more than once`, at, "give the second one an id of its own");
        return [];
      }
      seen.add(module);
      if (value !== null && !Array.isArray(value)) {
        this.#fail(`"${key}" of id "${id}" needs a list of arguments`, at);
        return [];
      }
      return this.#declare({ id, line: at, key, args: (value ?? []) as readonly Json[], extending });
    });
  }

  #declare(written: {
    readonly id: string;
    readonly line: number;
    readonly key: string;
    readonly args: readonly Json[];
    readonly extending: boolean;
  }): readonly Declaration[] {
    const { id, line, key, args, extending } = written;
    const [state = "", ...rest] = key.split(".");
    const functions = rest.length > 0 ? [rest.join(".")] : [];
    const kept: Argument[] = [];
    const source = (rendered: number) => this.#written.sourceLine(rendered);
    for (const [index, item] of args.entries()) {
      const at = this.#document.lineOf(args, index);
      if (typeof item === "string") functions.push(item);
      else if (isJsonObject(item)) {
        for (const [name, value] of Object.entries(item)) kept.push({ key: name, value, line: source(at) });
      } else this.#fail(`an argument of "${key}" is neither a function nor "name: value"`, at);
    }
    const [fun = "", ...more] = functions;
    if (more.length > 0) {
      this.#fail(`id "${id}" declares too many functions for "${state}": ${functions.join(", ")}`, line);
      return [];
    }
    if (fun === "" && !extending) {
      this.#fail(`id "${id}" declares no function for "${state}"`, line, `write it as "${state}.function"`);
      return [];
    }
    return [{ id, sls: this.#sls, file: this.#file, line: source(line), state, fun, args: kept }];
  }
}

/**
 * Reads the rendered text of one SLS file into declarations, in the order of the file. Mistakes are returned, each with
 * file and line as written, beside what could be read. Source: Salt's highstate data structures.
 */
export function readSls(
  written: Written,
  sls: string,
  file: string,
): { readonly parsed: SlsFile; readonly errors: readonly ConfigError[] } {
  const { rendered, sourceLine } = written;
  try {
    const reader = new Reader(written, sls, file, parseYamlDocument(rendered, file, { sourceLine }));
    return { parsed: reader.read(), errors: reader.errors };
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    const parsed = { sls, file, includes: [], excludes: [], extends: [], declarations: [] };
    return { parsed, errors: [thrown] };
  }
}
