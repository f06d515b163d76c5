import { globMatcher } from "../../sls/glob.ts";
import type { Decision, Reason, ReleaseFacts, Verdict } from "./facts.ts";
import { isInNetworks } from "./network.ts";
import type { ReleasePolicy, Rule } from "./rules.ts";
import { isInWindow } from "./time-window.ts";

const reason = (code: string, text: string): Reason => ({ code, text });

/**
 * What the rules say to the facts as they are, with every reason named: `decide` asks it for each purpose that counts. The
 * first rule whose `match` holds decides; its unmet requirements make a hold, which approvals lift; what no rule matches is
 * denied.
 */
export function applyRules(policy: ReleasePolicy | undefined, facts: ReleaseFacts): Decision {
  if (!policy) return decision("allow", undefined, [reason("no-policy", "there is no release policy")], []);
  const passedOver: { rule: string; reason: Reason }[] = [];
  const failed: Reason[] = [];
  for (const rule of policy.rules) {
    const mismatch = whyNotMatched(rule, facts);
    const result = mismatch ? undefined : validate(rule, facts);
    if (result?.problem) failed.push(result.problem);
    const passed = mismatch ?? result?.mismatch;
    if (!passed) return withReasons(decideByRule(rule, facts, passedOver), failed);
    passedOver.push({ rule: rule.name, reason: passed });
  }
  return decision("deny", undefined, [reason("no-rule", "no rule matches"), ...failed], passedOver);
}

const withReasons = (decided: Decision, more: readonly Reason[]): Decision =>
  more.length === 0 ? decided : { ...decided, reasons: [...decided.reasons, ...more] };

/**
 * What a rule's expression says. One that cannot be evaluated, for what the host leaves out or says otherwise, must not open
 * anything: it counts as true where the rule denies or holds, and as false where it allows.
 */
function validate(
  { name, validator, verdict }: Rule,
  facts: ReleaseFacts,
): { readonly mismatch?: Reason; readonly problem?: Reason } {
  if (!validator) return {};
  const result = validator.evaluate(facts);
  if ("problem" in result) {
    const text = `the expression of rule "${name}" cannot be evaluated: ${result.problem}`;
    const problem = reason("validator-failed", text);
    return verdict === "allow" ? { problem, mismatch: reason("validator", text) } : { problem };
  }
  return result.holds ? {} : { mismatch: reason("validator", `${validator.text} is not true`) };
}

function decision(
  verdict: Verdict,
  rule: string | undefined,
  reasons: readonly Reason[],
  passedOver: Decision["passedOver"],
  approvalsNeeded?: Decision["approvalsNeeded"],
): Decision {
  return { verdict, rule, reasons, approvalsNeeded, passedOver };
}

/** Why a rule is about another host or secret. */
function whyNotAbout(
  { match }: Rule,
  facts: Pick<ReleaseFacts, "minionId" | "nodegroups" | "secret">,
): Reason | undefined {
  if (match.hosts && !match.hosts.some((glob) => globMatcher(glob)(facts.minionId))) {
    return reason("host", `host "${facts.minionId}" is not one of ${match.hosts.join(", ")}`);
  }
  if (match.nodegroups && !match.nodegroups.some((group) => facts.nodegroups.includes(group))) {
    return reason("nodegroup", `the host is in none of the node groups ${match.nodegroups.join(", ")}`);
  }
  if (match.secrets && !match.secrets.some((glob) => globMatcher(glob)(facts.secret))) {
    return reason("secret", `secret "${facts.secret}" is not one of ${match.secrets.join(", ")}`);
  }
  return undefined;
}

/**
 * What an allowed release settles for those after it: that its boot is known, and that silence before it is past. It does
 * when people approved just that, or when no rule about this host and secret, for whatever purpose, from wherever and
 * whenever, would have objected to it. So a lease under a rule that asks for less leaves nothing for one that asks for more.
 */
export function settledBy(policy: ReleasePolicy | undefined, facts: ReleaseFacts, { reasons }: Decision) {
  const codes = new Set(reasons.map(({ code }) => code));
  const rules = (policy?.rules ?? []).filter((rule) => whyNotAbout(rule, facts) === undefined);
  const isSettled = (code: string) =>
    codes.has(code) || !rules.some((rule) => unmetRequirements(rule, facts).some((unmet) => unmet.code === code));
  return { boot: isSettled("unannounced-reboot"), silence: isSettled("liveness") };
}

/** The first condition of `match`, its expression left out, that does not hold. */
function whyNotMatched(rule: Rule, facts: ReleaseFacts): Reason | undefined {
  const { match } = rule;
  const elsewhere = whyNotAbout(rule, facts);
  if (elsewhere) return elsewhere;
  if (match.purposes && !match.purposes.includes(facts.purpose)) {
    return reason("purpose", `purpose "${facts.purpose}" is not one of ${match.purposes.join(", ")}`);
  }
  if (match.networks && !isInNetworks(match.networks, facts.address)) {
    return reason("network", `address ${facts.address || "unknown"} is in none of ${match.networks.join(", ")}`);
  }
  if (match.when && !isInWindow(match.when, facts.now)) {
    const { days, from, to, zone } = match.when;
    return reason("time", `it is not between ${from} and ${to} on ${days.join(", ")} (${zone})`);
  }
  return undefined;
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

function unmetRequirements({ require }: Rule, facts: ReleaseFacts): readonly Reason[] {
  const unmet: Reason[] = [];
  if (require.once_a_boot === true && facts.leasesThisBoot > 0) {
    unmet.push(reason("once-a-boot", "the key was leased in this boot already"));
  }
  if (require.announced_reboot === true && facts.everLeased && facts.newBoot && !facts.rebootAnnounced) {
    unmet.push(reason("unannounced-reboot", "the host has restarted and nobody announced it"));
  }
  if (require.liveness !== undefined && facts.silentMs > require.liveness) {
    unmet.push(reason("liveness", `the host was silent for ${Math.round(facts.silentMs / 1000)} s`));
  }
  if (require.budget_per_day !== undefined && facts.leasesInDay >= require.budget_per_day) {
    unmet.push(reason("budget", `${facts.leasesInDay} of ${require.budget_per_day} leases a day are used`));
  }
  return unmet;
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
