/** A row as the suite compares it: id to `result`, `changed`, `not run`. */
export type Expected = readonly (readonly [id: string, outcome: string])[];

/** Where we differ from Salt on purpose. */
export interface Exception {
  readonly why: string;
  /** The mode that differs; both when absent. */
  readonly mode?: "apply" | "test";
  /** What our compile error says instead. */
  readonly error?: RegExp;
  /** Outcomes of some rows, in place of Salt's. */
  readonly outcomes?: Readonly<Record<string, string>>;
  /** All of our rows in their order, `id outcome, …`, in place of Salt's. */
  readonly rows?: { readonly apply: string; readonly test: string };
  /** Ids in our order, where that alone differs. */
  readonly order?: readonly string[];
  /** Salt's record of the case is no fact about SLS. */
  readonly unusable?: true;
}

const PREREQ_FAILED = "a prereq that failed fails its target: Salt calls the target a prediction (null), in a real run";
const CONTRADICTION = "a state cannot be tried before and run after the same state: a cycle";
const CYCLE = /requisites go round in a cycle/u;
const NO_CYCLE = "Salt takes a prereq on a state that was skipped for a cycle; there is none";

export const EXCEPTIONS: Readonly<Record<string, Exception>> = {
  probe_unknown_function_in_module: {
    why: "unknown states are refused before anything runs; Salt fails that state alone",
    error: /there is no state "test.nosuchfunc"/u,
  },
  probe_prereq_fails: { why: PREREQ_FAILED, outcomes: { deploy: "false" } },
  random_0270: { why: PREREQ_FAILED, outcomes: { s1: "false" } },
  random_0303: { why: PREREQ_FAILED, outcomes: { s1: "false" }, mode: "apply" },
  random_0168: {
    why: "a target whose own requisites failed will not run, so its prereq fails: Salt runs the prereq",
    rows: {
      apply:
        "s0 false, s5 false, s2 true changed, s4 false, s1 false, s6 false, s7 false, s3 false, listener_s4 true changed",
      test: "s0 false, s5 false, s2 null changed, s4 false, s1 false, s6 false, s7 false, s3 false, listener_s4 true changed",
    },
  },
  random_0348: {
    why: "a target whose own requisites failed fails: Salt takes over its prediction (true), and what follows from it",
    rows: {
      apply: "s8 true, s0 false, s4 true not run, s7 false, s3 false, s6 false, s1 true, s2 false, s5 false",
      test: "s8 true, s0 false, s4 true not run, s7 false, s3 false, s6 false, s1 true, s2 false, s5 false",
    },
  },
  random_0096: {
    why: "a prereq of a prereq runs first: Salt loses the order when nothing would change",
    order: ["s0", "s4", "s1", "s2", "s3"],
  },
  random_0240: {
    why: "a cycle is found before anything runs: Salt's failhard came first",
    mode: "apply",
    error: CYCLE,
  },
  random_0252: { why: CONTRADICTION, error: CYCLE },
  random_0294: { why: CONTRADICTION, error: CYCLE },
  random_0171: {
    why: NO_CYCLE,
    rows: {
      apply:
        "s1 true, s2 true, s4 true changed, s7 true changed, s0 true not run, s3 true changed, s8 true changed, " +
        "s5 true not run, s6 true changed",
      test:
        "s1 true, s2 true, s4 null changed, s7 null changed, s0 null changed, s3 null changed, s8 null changed, " +
        "s5 true not run, s6 null changed",
    },
  },
  random_0351: {
    why: NO_CYCLE,
    rows: {
      apply:
        "s0 true, s1 true changed, s3 true, s5 true, s4 true not run, s7 true, s6 true changed, s8 true changed, s2 true",
      test: "s0 true, s1 null changed, s3 true, s5 true, s4 true not run, s7 true, s6 null changed, s8 true changed, s2 true",
    },
  },
  random_0051: { why: "the test run met another run of Salt's own", mode: "test", unusable: true },
};
