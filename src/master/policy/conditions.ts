import { isLeasePurpose } from "../../core/lease-purpose.ts";
import { globMatcher } from "../../sls/glob.ts";
import type { Judge } from "./expression.ts";
import type { Reason, ReleaseFacts } from "./facts.ts";
import { isInNetworks } from "./network.ts";
import type { ReleasePolicy, Rule } from "./rules.ts";
import { isInWindow } from "./time-window.ts";
import { matches, type Truth } from "./truth.ts";

type Match = Rule["match"];
type Wanted = { readonly [Key in keyof Match]-?: NonNullable<Match[Key]> };
type Given = { readonly [Key in keyof Wanted]?: Wanted[Key] | undefined };

/** What conditions are tried with. */
export interface Asked {
  readonly facts: ReleaseFacts;
  readonly policy: Pick<ReleasePolicy, "nodegroups">;
  readonly judge: Judge;
}

interface Found {
  readonly truth: Truth;
  /** Why it does not hold, or cannot be told. */
  readonly why: string;
}

interface Condition<Wanted> {
  /** Code of the reason why a rule was passed over. */
  readonly code: string;
  /** Code of the reason that says that it could not be told. */
  readonly unknown: string;
  readonly find: (wanted: Wanted, asked: Asked) => Found;
}

const anyGlob = (globs: readonly string[], text: string): Truth =>
  text === "" ? "unknown" : globs.some((glob) => globMatcher(glob)(text)) ? "yes" : "no";

/** Every condition of a rule, in the order in which they are tried: a new one does not compile without its row. */
const CONDITIONS: { readonly [Key in keyof Wanted]: Condition<Wanted[Key]> } = {
  hosts: {
    code: "host",
    unknown: "host-unknown",
    find: (globs, { facts: { minionId } }) => ({
      truth: anyGlob(globs, minionId),
      why: `host "${minionId}" is not one of ${globs.join(", ")}`,
    }),
  },
  nodegroups: {
    code: "nodegroup",
    unknown: "nodegroup-unknown",
    find: (groups, { facts, policy }) => {
      if (groups.some((group) => facts.nodegroups.includes(group))) return { truth: "yes", why: "" };
      const unknown = groups.filter((group) => !Object.hasOwn(policy.nodegroups, group));
      return unknown.length > 0
        ? { truth: "unknown", why: `there is no node group ${unknown.join(", ")}` }
        : { truth: "no", why: `the host is in none of the node groups ${groups.join(", ")}` };
    },
  },
  secrets: {
    code: "secret",
    unknown: "secret-unknown",
    find: (globs, { facts: { secret } }) => ({
      truth: anyGlob(globs, secret),
      why: `secret "${secret}" is not one of ${globs.join(", ")}`,
    }),
  },
  purposes: {
    code: "purpose",
    unknown: "purpose-unknown",
    find: (purposes, { facts: { purpose } }) => ({
      truth: isLeasePurpose(purpose) ? (purposes.includes(purpose) ? "yes" : "no") : "unknown",
      why: `purpose "${purpose}" is not one of ${purposes.join(", ")}`,
    }),
  },
  networks: {
    code: "network",
    unknown: "network-unknown",
    find: (networks, { facts: { address } }) => ({
      truth: isInNetworks(networks, address),
      why: `address ${address || "unknown"} is in none of ${networks.join(", ")}`,
    }),
  },
  when: {
    code: "time",
    unknown: "time-unknown",
    find: (window, { facts: { now } }) => {
      const truth = isInWindow(window, now);
      const { days, from, to, zone } = window;
      return truth === "unknown"
        ? { truth, why: `the time in zone ${zone} cannot be told` }
        : { truth, why: `it is not between ${from} and ${to} on ${days.join(", ")} (${zone})` };
    },
  },
  validator: {
    code: "validator",
    unknown: "validator-failed",
    find: (validator, { facts, judge }) => {
      const judged = judge(validator, facts);
      if ("problem" in judged)
        return { truth: "unknown", why: `the expression cannot be evaluated: ${judged.problem}` };
      return { truth: judged.holds ? "yes" : "no", why: `${validator.text} is not true` };
    },
  },
};
const ALL = Object.keys(CONDITIONS) as readonly (keyof Wanted)[];
/** Conditions that say which host and secret a rule is about. */
const ABOUT = ["hosts", "nodegroups", "secrets"] as const satisfies readonly (keyof Wanted)[];
/** All but the expression: what costs nothing to try. */
const PLAIN = ALL.filter((key) => key !== "validator");

/** Codes of reasons that say only that a condition could not be told. */
export const UNKNOWN_CODES: ReadonlySet<string> = new Set(Object.values(CONDITIONS).map(({ unknown }) => unknown));

function findOne<Key extends keyof Wanted>(key: Key, match: Pick<Given, Key>, asked: Asked): Found | undefined {
  const wanted = match[key];
  const row: Condition<Wanted[Key]> = CONDITIONS[key];
  return wanted === undefined ? undefined : row.find(wanted, asked);
}

/** Whether conditions hold together, what does not (the first of it), and what of them cannot be told. */
interface Matched {
  readonly truth: Truth;
  readonly mismatch?: Reason;
  readonly unknown: readonly Reason[];
}

function together(keys: readonly (keyof Wanted)[], rule: Rule, asked: Asked): Matched {
  const unknown: Reason[] = [];
  for (const key of keys) {
    const found = findOne(key, rule.match, asked);
    if (!found || found.truth === "yes") continue;
    if (found.truth === "no") {
      return { truth: "no", mismatch: { code: CONDITIONS[key].code, text: found.why }, unknown: [] };
    }
    unknown.push({ code: CONDITIONS[key].unknown, text: `rule "${rule.name}": ${found.why}` });
  }
  return { truth: unknown.length > 0 ? "unknown" : "yes", unknown };
}

/** Why a rule is passed over, if it is; and what of its conditions could not be told, which is named in every case. */
export function matchRule(
  rule: Rule,
  asked: Asked,
): { readonly passed: Reason | undefined; readonly unknown: readonly Reason[] } {
  const { truth, mismatch, unknown } = together(ALL, rule, asked);
  return { passed: matches(truth, rule.verdict) ? undefined : (mismatch ?? unknown[0]), unknown };
}

/** Whether a rule may be about this host and secret, whatever else it asks. */
export function mayBeAbout(rule: Rule, asked: Asked): boolean {
  return together(ABOUT, rule, asked).truth !== "no";
}

/** What can be told of a rule without its expression. */
export function matchWithoutExpression(rule: Rule, asked: Omit<Asked, "judge">): Truth {
  return together(PLAIN, rule, { ...asked, judge: () => ({ problem: "it was not asked" }) }).truth;
}
