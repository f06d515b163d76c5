import type { LayoutFacts } from "../../core/luks-layout.ts";
import type { LeasePurpose } from "../../core/lease-purpose.ts";
import type { SecretNode } from "../../pillar/secret-node.ts";
import type { Reason, Verdict } from "../policy/facts.ts";
import type { Change } from "../store/store.ts";

/** What a release rule is told about a lease request; all of it proven or marked as the minion's word in THREATS. */
export interface LeaseFacts {
  readonly id: string;
  readonly fingerprint: string;
  readonly address: string;
  readonly path: string;
  readonly purpose: LeasePurpose;
  /** The version that was asked for; 0 for the current one. */
  readonly asked: number;
  readonly device: string;
  readonly luksUuid: string;
  readonly bootId: string;
  readonly header: HeaderFacts;
}

/** What the host says of its LUKS header, in short, and whether it is the one that the master knows. */
export interface HeaderFacts extends LayoutFacts {
  /** True for a header that was compared, field by field, with the one on record. */
  readonly known: boolean;
}

/** What was decided, with every reason named. */
export interface LeaseDecision {
  readonly verdict: Verdict;
  readonly reasons: readonly Reason[];
  /** Name of the rule that decided; left out when none did. */
  readonly rule?: string;
  /** SHA-256 of the policy that decided, hex; left out when there is none. */
  readonly policyHash?: string;
  /** Of a hold: when to ask again; 5 seconds when left out. */
  readonly retryMs?: number;
  /** Of an allowed lease: written in the same atomic write as its record. */
  readonly changes?: readonly Change[];
  /** Of an allowed lease: what forbids it by now after all; asked again right before the key leaves. */
  readonly stopped?: () => Reason | undefined;
  /** Of an allowed lease: called once, when it is known whether its release, and `changes`, are on disk. */
  readonly settle?: (released: boolean) => void;
}

/**
 * The release policy's word on one request, asked only for what the minion's own pillar names (`node`): it can only narrow
 * that.
 * Requests of one minion for one secret are decided one after the other, the next when what came of the last is on disk. A
 * throw is a denial.
 */
export type Authorize = (facts: LeaseFacts, node: SecretNode) => Promise<LeaseDecision>;

/** The decision where there is no release policy. */
export const NO_POLICY: LeaseDecision = {
  verdict: "allow",
  reasons: [{ code: "no-policy", text: "there is no release policy" }],
};

/** A denial by the master itself. */
export function denied(code: string, text: string): LeaseDecision {
  return { verdict: "deny", reasons: [{ code, text }] };
}
