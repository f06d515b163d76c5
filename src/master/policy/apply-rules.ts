import { type Asked, matchRule, mayBeAbout } from "./conditions.ts";
import type { Judge } from "./expression.ts";
import type { Decision, Reason, ReleaseFacts, Verdict } from "./facts.ts";
import { OBJECTIONS, unmetRequirements } from "./requirements.ts";
import type { ReleasePolicy, Rule } from "./rules.ts";

const reason = (code: string, text: string): Reason => ({ code, text });

/**
 * What the rules say to the facts as they are, with every reason named: `decide` asks it for each purpose that counts. The
 * first rule whose `match` holds decides; its unmet requirements make a hold, which approvals lift; what no rule matches is
 * denied. What cannot be told opens nothing: see `matches`.
 */
export function applyRules(policy: ReleasePolicy | undefined, facts: ReleaseFacts, judge: Judge): Decision {
  if (!policy) return decision("allow", undefined, [reason("no-policy", "there is no release policy")], []);
  const asked: Asked = { facts, policy, judge };
  const passedOver: { rule: string; reason: Reason }[] = [];
  const untold: Reason[] = [];
  for (const rule of policy.rules) {
    const { passed, unknown } = matchRule(rule, asked);
    untold.push(...unknown);
    if (!passed) return withReasons(decideByRule(rule, facts, passedOver), untold);
    passedOver.push({ rule: rule.name, reason: passed });
  }
  return decision("deny", undefined, [reason("no-rule", "no rule matches"), ...untold], passedOver);
}

const withReasons = (decided: Decision, more: readonly Reason[]): Decision =>
  more.length === 0 ? decided : { ...decided, reasons: [...decided.reasons, ...more] };

function decision(
  verdict: Verdict,
  rule: string | undefined,
  reasons: readonly Reason[],
  passedOver: Decision["passedOver"],
  approvalsNeeded?: Decision["approvalsNeeded"],
): Decision {
  return { verdict, rule, reasons, approvalsNeeded, passedOver };
}

/**
 * What an allowed release settles for those after it: that its boot is known, and that silence before it is past. It does
 * when people approved just that, or when no rule about this host and secret, for whatever purpose, from wherever and
 * whenever, would have objected to it. So a lease under a rule that asks for less leaves nothing for one that asks for more.
 */
export function settledBy(policy: ReleasePolicy | undefined, facts: ReleaseFacts, { reasons }: Decision) {
  const approved = new Set(reasons.map(({ code }) => code));
  // conditions on host and secret have no expressions
  const asked: Asked = { facts, policy: policy ?? { nodegroups: {} }, judge: () => ({ problem: "it was not asked" }) };
  const rules = (policy?.rules ?? []).filter((rule) => mayBeAbout(rule, asked));
  const objections = new Set(rules.flatMap((rule) => unmetRequirements(rule, facts)).map(({ code }) => code));
  const isSettled = (codes: readonly string[]) =>
    codes.some((code) => approved.has(code)) || !codes.some((code) => objections.has(code));
  return { boot: isSettled(OBJECTIONS.boot), silence: isSettled(OBJECTIONS.silence) };
}

function decideByRule(rule: Rule, facts: ReleaseFacts, passedOver: Decision["passedOver"]): Decision {
  const says = reason("rule", `rule "${rule.name}" says ${rule.verdict}`);
  if (rule.verdict === "deny") return decision("deny", rule.name, [says], passedOver);
  const unmet = [...(rule.verdict === "hold" ? [says] : []), ...unmetRequirements(rule, facts)];
  const asked = rule.require.approvals;
  if (unmet.length === 0 && !asked) return decision("allow", rule.name, [says], passedOver);

  // an approval that the rule asks for always counts; a hold for another reason may be lifted by others
  const required = asked ? tally(asked, facts) : undefined;
  const lifting = unmet.length > 0 ? tally(rule.lift ?? asked ?? { count: 1 }, facts) : undefined;
  const open = [required, lifting].find((count) => count !== undefined && count.have < count.count);
  if (!open) {
    const names = [...(required?.names ?? []), ...(lifting?.names ?? [])];
    const approved = reason("approved", `approved by ${[...new Set(names)].join(", ")}`);
    return decision("allow", rule.name, [...unmet, approved], passedOver);
  }
  const wanting = reason("approvals", `${open.have} of ${open.count} approvals`);
  return decision("hold", rule.name, [...unmet, wanting], passedOver, {
    count: open.count,
    of: open.of,
    have: open.have,
  });
}

interface Tally {
  readonly count: number;
  readonly of: readonly string[] | undefined;
  readonly have: number;
  readonly names: readonly string[];
}

/** Counts each operator once, only those who may approve, and never who asked. */
function tally(
  wanted: { readonly count: number; readonly of?: readonly string[] | undefined },
  facts: ReleaseFacts,
): Tally {
  const names = [...new Set(facts.approvals.map((approval) => approval.operator))].filter(
    (operator) => !facts.askers.includes(operator) && (wanted.of?.includes(operator) ?? true),
  );
  return { count: wanted.count, of: wanted.of, have: names.length, names };
}
