import type { Requisite, RequisiteKind } from "./low.ts";

/** What is known about a state that had its turn. */
export interface Verdict {
  readonly result: boolean | null;
  readonly changed: boolean;
  /** False when the state was not run because of its requisites. */
  readonly ran: boolean;
}

/** What to do with a state at its turn. */
export type Decision =
  | { readonly kind: "run" }
  /** Run; when nothing changed by itself, the watch action takes the place of the result. */
  | { readonly kind: "run-then-react" }
  | { readonly kind: "failed"; readonly failed: readonly number[] }
  | { readonly kind: "missing"; readonly refs: readonly string[] }
  | { readonly kind: "skip-onchanges" }
  | { readonly kind: "skip-onfail" }
  /** The target of the prereq would not change. */
  | { readonly kind: "skip-prereq" };

/** What a list of targets comes to; the same list is summed up once, as many states may share it. */
interface Sum {
  readonly failed: readonly number[];
  readonly succeeded: boolean;
  /** Not succeeded, and did run. */
  readonly ranWithoutSuccess: boolean;
  readonly changed: boolean;
  readonly unchanged: boolean;
  /** Not failed, and did run. */
  readonly met: boolean;
  readonly wouldChange: boolean;
  readonly wouldNotChange: boolean;
}

function sumUp(targets: readonly number[], verdicts: readonly (Verdict | undefined)[]): Sum {
  const failed: number[] = [];
  const sum = {
    succeeded: false,
    ranWithoutSuccess: false,
    changed: false,
    unchanged: false,
    met: false,
    wouldChange: false,
    wouldNotChange: false,
  };
  for (const target of targets) {
    const verdict = verdicts[target];
    if (!verdict) continue;
    if (verdict.result === true) sum.succeeded = true;
    else if (verdict.ran) sum.ranWithoutSuccess = true;
    if (verdict.result === false) {
      failed.push(target);
      continue;
    }
    if (verdict.changed) sum.changed = true;
    else sum.unchanged = true;
    if (verdict.ran) sum.met = true;
    if (verdict.result === null) sum.wouldChange = true;
    else sum.wouldNotChange = true;
  }
  return { ...sum, failed };
}

/** The reasons that one kind of requisite gives, for all references of the kind together. */
interface Reasons {
  fail: readonly number[];
  change: boolean;
  onfail: boolean;
  onchanges: boolean;
  /** Overrules onfail and onchanges, as Salt was seen to do. */
  onchangesAny: boolean;
  prereq: boolean;
  prereqMet: boolean;
}

const NO_REASONS: Reasons = {
  fail: [],
  change: false,
  onfail: false,
  onchanges: false,
  onchangesAny: false,
  prereq: false,
  prereqMet: false,
};

function reasonsOf(kind: RequisiteKind, sums: readonly Sum[]): Reasons {
  const some = (key: Exclude<keyof Sum, "failed">) => sums.some((sum) => sum[key]);
  const fail = sums.flatMap((sum) => sum.failed);
  switch (kind) {
    case "require":
      return { ...NO_REASONS, fail };
    case "require_any":
      return { ...NO_REASONS, fail: some("met") ? [] : fail };
    case "watch":
      return { ...NO_REASONS, fail, change: some("changed") };
    case "watch_any":
      return { ...NO_REASONS, fail: some("met") || some("changed") ? [] : fail, change: some("changed") };
    case "onchanges":
      return { ...NO_REASONS, fail, onchanges: some("unchanged") && !some("changed") };
    case "onchanges_any":
      return {
        ...NO_REASONS,
        fail: some("changed") ? [] : fail,
        onchanges: some("unchanged") && !some("changed"),
        onchangesAny: some("changed"),
      };
    case "onfail":
    case "onfail_any":
      return { ...NO_REASONS, onfail: some("succeeded") && !some("ranWithoutSuccess") };
    case "onfail_all":
      return { ...NO_REASONS, onfail: some("succeeded") };
    case "prereq":
      return { ...NO_REASONS, fail, prereq: some("wouldNotChange"), prereqMet: some("wouldChange") };
    case "listen":
      return NO_REASONS;
    default:
      return kind satisfies never;
  }
}

/** Decides what requisites mean for states at their turn; keeps what shared lists of targets come to. */
export class Decider {
  readonly #verdicts: readonly (Verdict | undefined)[];
  /** Verdicts in test mode of what a prereq points at. */
  readonly #trials: readonly (Verdict | undefined)[];
  readonly #sums = new Map<readonly number[], Sum>();
  readonly #trialSums = new Map<readonly number[], Sum>();

  /** Both lists are by position and may grow; what a decision needs must be there by then. */
  constructor(verdicts: readonly (Verdict | undefined)[], trials: readonly (Verdict | undefined)[]) {
    this.#verdicts = verdicts;
    this.#trials = trials;
  }

  #sum({ kind, targets }: Requisite): Sum {
    const [sums, verdicts] =
      kind === "prereq" ? [this.#trialSums, this.#trials] : ([this.#sums, this.#verdicts] as const);
    const known = sums.get(targets);
    if (known) return known;
    const sum = sumUp(targets, verdicts);
    sums.set(targets, sum);
    return sum;
  }

  /**
   * `prerequired` are the states that a prereq puts before this one: when one of them failed, this one fails too. Source:
   * what Salt 3006 was seen to do (test/conformance).
   */
  decide(requisites: readonly Requisite[], prerequired: readonly number[]): Decision {
    const needs = requisites.filter(({ kind }) => kind !== "listen");
    const lost = needs.filter(({ targets }) => targets.length === 0);
    if (lost.length > 0) return { kind: "missing", refs: lost.map(({ kind, ref }) => `${kind}: ${ref}`) };
    const kinds = Map.groupBy(needs, ({ kind }) => kind);
    const reasons = [...kinds].map(([kind, list]) =>
      reasonsOf(
        kind,
        list.map((requisite) => this.#sum(requisite)),
      ),
    );
    const before = prerequired.filter((index) => this.#verdicts[index]?.result === false);
    const failed = [...reasons.flatMap(({ fail }) => fail), ...before];
    const some = (key: Exclude<keyof Reasons, "fail">) => reasons.some((reason) => reason[key]);
    if (failed.length > 0) return { kind: "failed", failed: [...new Set(failed)].sort((a, b) => a - b) };
    if (some("prereq") && !some("prereqMet")) return { kind: "skip-prereq" };
    if (some("onfail") && !some("onchangesAny")) return { kind: "skip-onfail" };
    if (some("onchanges") && !some("onchangesAny")) return { kind: "skip-onchanges" };
    return { kind: some("change") ? "run-then-react" : "run" };
  }
}
