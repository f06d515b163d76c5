import { ConfigError } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import { type Draft, draftStates, sortDrafts } from "./draft.ts";
import { mergeFiles } from "./extend.ts";
import { type Globals, readGlobals } from "./globals.ts";
import { loadSls } from "./include.ts";
import { KEYWORDS } from "./keywords.ts";
import { configErrorAt } from "./located-error.ts";
import type { LowChunk, RenderContext, Requisite, SlsSource } from "./low.ts";
import { didYouMean } from "./nearest.ts";
import { orderStates } from "./order.ts";
import { resolveRequisites } from "./requisites.ts";
import { readTop } from "./top.ts";

/** What to compile: the top file's choice for this minion, or SLS files by name. */
export type Wanted = { readonly kind: "highstate" } | { readonly kind: "sls"; readonly names: readonly string[] };

/** The states that exist, as the compiler needs to know them (see states/validate.ts). */
export interface KnownStates {
  readonly names: readonly string[];
  /** Execution functions that guards may call; left out where nobody knows them. */
  readonly functions?: readonly string[];
  has(name: string): boolean;
  params(name: string): readonly string[];
  validate(
    name: string,
    params: JsonObject,
  ): readonly { readonly param: string; readonly kind: "unknown" | "invalid"; readonly message: string }[];
}

/** The states to run in their order, or every mistake that was found, with file and line. */
export type Compiled =
  | {
      readonly kind: "chunks";
      readonly chunks: readonly LowChunk[];
      /** The SLS files that were asked for, or that the top file gives; [] when it gives none. */
      readonly names: readonly string[];
    }
  | { readonly kind: "errors"; readonly errors: readonly ConfigError[] };

function unknownState({ state, fun, file, line }: Draft, known: KnownStates): ConfigError {
  const name = `${state}.${fun}`;
  const functions = known.names.filter((candidate) => candidate.startsWith(`${state}.`));
  const guess = functions.length === 0 ? known.names : functions;
  const why = `there is no state "${name}"${didYouMean(name, guess) || didYouMean(name, known.names)}`;
  return configErrorAt("unknown-state", why, { file, line }, name);
}

/** Mistakes in the arguments of one draft. */
function checkDraft(draft: Draft, globals: Globals, known: KnownStates): readonly ConfigError[] {
  const name = `${draft.state}.${draft.fun}`;
  if (!known.has(name)) return [unknownState(draft, known)];
  return known.validate(name, globals.params).map(({ param, kind, message }) => {
    const written = draft.args.get(param.split(".")[0] ?? "");
    const names = param.includes(".") ? [] : [...known.params(name), ...KEYWORDS];
    const guess = kind === "unknown" ? didYouMean(param, names) : "";
    const place = { file: draft.file, line: written?.line ?? draft.line };
    return configErrorAt(
      "bad-parameter",
      `${message}${guess} (id "${draft.id}")`,
      place,
      kind === "unknown" ? param : "",
    );
  });
}

/** Guards that call a function which does not exist. */
function checkGuards(draft: Draft, globals: Globals, functions: readonly string[]): readonly ConfigError[] {
  const guards = { unless: globals.unless, onlyif: globals.onlyif, check_cmd: globals.checkCmd };
  return Object.entries(guards).flatMap(([key, list]) =>
    list.flatMap((guard) => {
      if (typeof guard === "string" || functions.includes(guard.fun)) return [];
      const why = `"${key}" of id "${draft.id}": there is no function "${guard.fun}"${didYouMean(guard.fun, functions)}`;
      const place = { file: draft.file, line: draft.args.get(key)?.line ?? draft.line };
      return [configErrorAt("unknown-function", why, place, guard.fun)];
    }),
  );
}

function cycleError(cycle: readonly number[], drafts: readonly Draft[]): ConfigError {
  const path = cycle.map((index) => `${drafts[index]?.state}: ${drafts[index]?.id}`).join(" -> ");
  const first = drafts[cycle[0] ?? 0];
  const place = { file: first?.file ?? "", line: first?.line ?? 1 };
  return configErrorAt("requisite-cycle", `requisites go round in a cycle: ${path}`, place, "", {
    hint: "each needs the next to run before it; take one of these requisites out",
  });
}

function numberChunks(
  drafts: readonly Draft[],
  globals: readonly Globals[],
  requisites: readonly (readonly Requisite[])[],
  order: readonly number[],
): readonly LowChunk[] {
  const position: number[] = [];
  for (const [place, index] of order.entries()) position[index] = place;
  const renumbered = new Map<readonly number[], readonly number[]>();
  const renumber = (targets: readonly number[]): readonly number[] => {
    const known = renumbered.get(targets);
    if (known) return known;
    const mapped = targets.map((target) => position[target] ?? -1);
    renumbered.set(targets, mapped);
    return mapped;
  };
  return order.flatMap((index): readonly LowChunk[] => {
    const draft = drafts[index];
    const own = globals[index];
    if (!draft || !own) return [];
    const { id, sls, file, line, state, fun, name } = draft;
    const needs = (requisites[index] ?? []).map((requisite) => ({
      ...requisite,
      targets: renumber(requisite.targets),
    }));
    return [{ id, sls, file, line, state, fun, name, requisites: needs, ...own }];
  });
}

async function namesOf(wanted: Wanted, source: SlsSource, context: RenderContext): Promise<readonly string[]> {
  if (wanted.kind === "sls") return wanted.names;
  const names = await readTop(source, context);
  if (names) return names;
  throw new ConfigError(
    "top-missing",
    `cannot run a highstate: there is no top.sls in ${source.roots ?? "the file roots"}`,
    {
      hint: "write one, or apply an SLS by its name",
    },
  );
}

/**
 * Compiles SLS files to the ordered list of states to run: renders, includes, extends, expands, checks every state and
 * parameter against those that exist, resolves requisites, orders. Nothing half right comes out: any mistake, and the
 * answer is the list of all mistakes. Errors of the source itself (a master that cannot be reached) are thrown.
 */
export async function compile(
  wanted: Wanted,
  source: SlsSource,
  context: RenderContext,
  known: KnownStates,
): Promise<Compiled> {
  const errors: ConfigError[] = [];
  let names: readonly string[];
  try {
    names = await namesOf(wanted, source, context);
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    return { kind: "errors", errors: [thrown] };
  }
  const loaded = await loadSls(names, source, context);
  errors.push(...loaded.errors);
  const merged = mergeFiles(loaded.files);
  const drafted = draftStates(merged.declarations);
  const resolved = resolveRequisites(sortDrafts(drafted.drafts));
  const globals = resolved.drafts.map((draft) =>
    readGlobals(draft, known.params(`${draft.state}.${draft.fun}`), ({ key, line, value }, why) => {
      errors.push(
        configErrorAt(
          "bad-sls",
          `${why} (id "${draft.id}")`,
          { file: draft.file, line },
          JSON.stringify({ [key]: value }),
        ),
      );
    }),
  );
  errors.push(...drafted.errors);
  // with a file missing, what it would have declared is missing too: say that once, where it matters
  if (loaded.errors.length === 0) errors.push(...merged.errors, ...resolved.errors);
  for (const [index, draft] of resolved.drafts.entries()) {
    const own = globals[index];
    if (own) errors.push(...checkDraft(draft, own, known));
    if (own && known.functions) errors.push(...checkGuards(draft, own, known.functions));
  }
  const { order, cycles } = orderStates(resolved.drafts, resolved.requisites);
  errors.push(...cycles.map((cycle) => cycleError(cycle, resolved.drafts)));
  if (errors.length > 0) return { kind: "errors", errors };
  return { kind: "chunks", names, chunks: numberChunks(resolved.drafts, globals, resolved.requisites, order) };
}
