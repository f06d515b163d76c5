import type { ConfigError } from "../core/errors.ts";
import { isJsonObject, type Json } from "../core/json.ts";
import type { Draft } from "./draft.ts";
import { globMatcher, isGlob } from "./glob.ts";
import type { Argument } from "./high.ts";
import { isOwnWord, REQUISITES, REQUISITES_IN } from "./keywords.ts";
import { configErrorAt } from "./located-error.ts";
import type { Requisite, RequisiteKind } from "./low.ts";
import { didYouMean } from "./nearest.ts";

/** A reference as written: `module: name`, `sls: name`, or a bare name (module "id"). */
interface Reference {
  readonly module: string;
  readonly name: string;
}

function readReference(item: Json): Reference | undefined {
  if (typeof item === "string") return { module: "id", name: item };
  const [key, value] = isJsonObject(item) && Object.keys(item).length === 1 ? (Object.entries(item)[0] ?? []) : [];
  if (key === undefined || (typeof value !== "string" && typeof value !== "number")) return undefined;
  return { module: key.split(".")[0] ?? key, name: String(value) };
}

/** Finds the states that a reference means; the same reference gives the same array, so that work on it can be shared. */
class Index {
  readonly #drafts: readonly Draft[];
  readonly #exact = new Map<string, number[]>();
  readonly #found = new Map<string, readonly number[]>();

  constructor(drafts: readonly Draft[]) {
    this.#drafts = drafts;
    for (const [index, { id, name, sls, state }] of drafts.entries()) {
      const texts = id === name ? [id] : [id, name];
      for (const text of texts) for (const module of ["id", state]) this.#add(module, text, index);
      this.#add("sls", sls, index);
    }
  }

  #add(module: string, text: string, index: number): void {
    const key = `${module}\0${text}`;
    const list = this.#exact.get(key);
    if (list) list.push(index);
    else this.#exact.set(key, [index]);
  }

  find({ module, name }: Reference): readonly number[] {
    const key = `${module}\0${name}`;
    const known = this.#found.get(key);
    if (known) return known;
    const found = isGlob(name) ? this.#glob(module, name) : (this.#exact.get(key) ?? []);
    this.#found.set(key, found);
    return found;
  }

  #glob(module: string, pattern: string): readonly number[] {
    const matches = globMatcher(pattern);
    return [...this.#drafts.entries()]
      .filter(([, { id, name, sls, state }]) =>
        module === "sls" ? matches(sls) : (module === "id" || module === state) && (matches(id) || matches(name)),
      )
      .map(([index]) => index);
  }

  /** Names that a reference of this module could have meant. */
  known(module: string): readonly string[] {
    const names = this.#drafts.filter(({ state }) => module === "id" || state === module).map(({ id }) => id);
    return module === "sls" ? this.#drafts.map(({ sls }) => sls) : names;
  }
}

/** What the drafts depend on: one list of requisites a draft, targets as positions among the drafts. */
export interface Resolved {
  readonly requisites: readonly (readonly Requisite[])[];
  /** The drafts, with what `use` gave them. */
  readonly drafts: readonly Draft[];
  readonly errors: readonly ConfigError[];
}

class Resolver {
  readonly errors: ConfigError[] = [];
  readonly #drafts: readonly Draft[];
  readonly #index: Index;
  readonly #requisites: Requisite[][];
  readonly #args: Map<string, Argument>[];

  constructor(drafts: readonly Draft[]) {
    this.#drafts = drafts;
    this.#index = new Index(drafts);
    this.#requisites = drafts.map(() => []);
    this.#args = drafts.map(({ args }) => new Map(args));
  }

  #fail(draft: Draft, argument: Argument, why: string, hint?: string): void {
    const extra = hint === undefined ? {} : { hint };
    const place = { file: draft.file, line: argument.line };
    this.errors.push(configErrorAt("bad-requisite", why, place, JSON.stringify(argument.value), extra));
  }

  #references(draft: Draft, key: string): readonly Reference[] {
    const argument = draft.args.get(key);
    if (!argument) return [];
    if (!Array.isArray(argument.value)) {
      this.#fail(draft, argument, `"${key}" of id "${draft.id}" needs a list`, `write "- ${key}:" and a list below it`);
      return [];
    }
    return (argument.value as readonly Json[]).flatMap((item) => {
      const reference = readReference(item);
      if (reference) return [reference];
      this.#fail(draft, argument, `"${key}" of id "${draft.id}" has an entry that is not "module: id"`);
      return [];
    });
  }

  #own(draft: Draft, index: number): void {
    for (const kind of REQUISITES) {
      for (const reference of this.#references(draft, kind)) {
        const ref = `${reference.module}: ${reference.name}`;
        this.#requisites[index]?.push({ kind, ref, targets: this.#index.find(reference) });
      }
    }
  }

  /** Names expand to several drafts with the same `_in`: each target gets it once. */
  #turnRound(draft: Draft, done: Set<string>): void {
    for (const [key, kind] of Object.entries(REQUISITES_IN)) {
      for (const reference of this.#references(draft, key)) {
        const once = `${kind}\0${draft.state}\0${draft.id}\0${reference.module}\0${reference.name}`;
        if (done.has(once)) continue;
        done.add(once);
        this.#give(draft, key, kind, reference);
      }
    }
  }

  #give(draft: Draft, key: string, kind: RequisiteKind, reference: Reference): void {
    const targets = this.#index.find(reference);
    if (targets.length === 0) this.#nothingMeant(draft, key, reference);
    const source = this.#index.find({ module: draft.state, name: draft.id });
    // an id with glob characters of its own means itself alone
    const sources = isGlob(draft.id) ? source.filter((at) => this.#drafts[at]?.id === draft.id) : source;
    for (const target of targets) {
      this.#requisites[target]?.push({ kind, ref: `${draft.state}: ${draft.id}`, targets: sources });
    }
  }

  #nothingMeant(draft: Draft, key: string, { module, name }: Reference): void {
    const argument = draft.args.get(key);
    const guess = didYouMean(name, this.#index.known(module));
    const why = `"${key}" of id "${draft.id}": there is no ${module} "${name}"${guess}`;
    if (argument) this.#fail(draft, argument, why, "include the SLS that declares it");
  }

  #use(draft: Draft, index: number): void {
    for (const [key, turned] of [
      ["use", false],
      ["use_in", true],
    ] as const) {
      for (const reference of this.#references(draft, key)) {
        const others = this.#index.find(reference);
        if (others.length === 0) this.#nothingMeant(draft, key, reference);
        for (const other of others) this.#copyArgs(turned ? index : other, turned ? other : index);
      }
    }
  }

  #copyArgs(from: number, to: number): void {
    const target = this.#args[to];
    for (const [key, argument] of this.#drafts[from]?.args ?? []) {
      if (target && !isOwnWord(key) && !target.has(key)) target.set(key, argument);
    }
  }

  resolve(): Resolved {
    const done = new Set<string>();
    for (const [index, draft] of this.#drafts.entries()) {
      this.#own(draft, index);
      this.#use(draft, index);
    }
    for (const draft of this.#drafts) this.#turnRound(draft, done);
    const drafts = this.#drafts.map((draft, index) => ({ ...draft, args: this.#args[index] ?? draft.args }));
    return { requisites: this.#requisites, drafts, errors: this.errors };
  }
}

/**
 * Finds what every requisite means: by id, by name, bare, by glob, by SLS; turns `_in` round and applies `use`. A
 * requisite that means nothing has no targets (the state fails at its turn); an `_in` that means nothing is an error, as in
 * Salt. Takes time in proportion to states plus references; globs are looked up once a pattern.
 */
export function resolveRequisites(drafts: readonly Draft[]): Resolved {
  return new Resolver(drafts).resolve();
}
