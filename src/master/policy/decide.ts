import { applyRules } from "./apply-rules.ts";
import { matchWithoutExpression, UNKNOWN_CODES } from "./conditions.ts";
import type { Judge } from "./expression.ts";
import { type Decision, type Reason, type ReleaseFacts, TALLY_CODES } from "./facts.ts";
import type { ReleasePolicy } from "./rules.ts";
import { matches } from "./truth.ts";

const RANK = { allow: 0, hold: 1, deny: 2 } as const;
/** Codes of an allow that nothing was in the way of. */
const PLAIN_CODES: ReadonlySet<string> = new Set(["rule", ...UNKNOWN_CODES]);
const AS_OPEN: Reason = {
  code: "as-open",
  text: "purpose is the host's own word and the key exists, so it must be allowed to open as well",
};

/**
 * The verdict of a release policy over the facts, with every reason named. Pure: the same facts always give the same
 * verdict. What a key is wanted for is the host's own word, so whatever hands out a key that exists must be allowed under
 * the rules for its purpose and under those for `open`: the stricter verdict counts. Without a policy (`undefined`: there
 * is no file) a host may have what its own pillar names.
 */
export function decide(policy: ReleasePolicy | undefined, facts: ReleaseFacts, judge: Judge): Decision {
  const own = applyRules(policy, facts, judge);
  if (policy === undefined || facts.purpose === "open" || facts.makesKey || own.verdict === "deny") return own;
  return stricter(own, applyRules(policy, asOpen(facts), judge));
}

/**
 * Asks the judge for every expression that a decision over the facts may need, so that they are evaluated together. That can be
 * some more than it needs in the end.
 */
export function askExpressions(policy: ReleasePolicy, facts: ReleaseFacts, judge: Judge): void {
  const isBoth = facts.purpose !== "open" && !facts.makesKey;
  for (const each of isBoth ? [facts, asOpen(facts)] : [facts]) {
    for (const rule of policy.rules) {
      const truth = matchWithoutExpression(rule, { facts: each, policy });
      const { validator } = rule.match;
      if (truth === "no") continue;
      if (validator) judge(validator, each);
      else if (matches(truth, rule.verdict)) break;
    }
  }
}

/**
 * What an `open` would be told. That a key was leased to open in this boot is no ground against testing, rotating or
 * growing what is open; a format of what is open is as odd as a second open.
 */
function asOpen(facts: ReleaseFacts): ReleaseFacts {
  return { ...facts, purpose: "open", leasesThisBoot: facts.purpose === "format" ? facts.opensThisBoot : 0 };
}

/** Both must allow it; the rule and, where both want people, the count are first those of the purpose itself. */
function stricter(own: Decision, open: Decision): Decision {
  const codes = new Set(own.reasons.map(({ code }) => code));
  const isPlain = open.verdict === "allow" && open.reasons.every(({ code }) => PLAIN_CODES.has(code));
  const more = (isPlain ? [] : open.reasons).map(namedForOpen).filter(({ code }) => !codes.has(code));
  const isSaid = isPlain || (own.rule === open.rule && more.every(({ code }) => TALLY_CODES.has(code)));
  const says = isSaid ? [] : [AS_OPEN];
  const wanting = own.verdict === "hold" ? own : open;
  return {
    verdict: RANK[open.verdict] > RANK[own.verdict] ? open.verdict : own.verdict,
    rule: own.rule,
    reasons: [...own.reasons, ...says, ...more],
    approvalsNeeded: wanting.approvalsNeeded,
    passedOver: own.passedOver,
  };
}

const namedForOpen = ({ code, text }: Reason): Reason =>
  code === "rule" ? { code: "open-rule", text: `to open, ${text}` } : { code, text };
