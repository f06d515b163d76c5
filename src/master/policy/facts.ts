import type { JsonObject } from "../../core/json.ts";
import type { LeasePurpose } from "../../core/lease-purpose.ts";

/** What a key is wanted for. */
export type ReleasePurpose = LeasePurpose;

/** An operator's signed yes to one held lease. */
export interface Approval {
  readonly operator: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/**
 * All that a release decision rests on, gathered by the master before it decides. null is what is not known: it meets no
 * requirement, and no condition over it can be told. What `CLAIMED_FACTS` names is the host's
 * own word, or rests on it, and is marked so wherever it is shown.
 */
export interface ReleaseFacts {
  readonly minionId: string;
  /** Names of the node groups that the master counts the host to. */
  readonly nodegroups: readonly string[];
  /** Pillar path of the secret. */
  readonly secret: string;
  readonly purpose: ReleasePurpose;
  /** True for a `format` that has the master make a key: every other lease hands out one that exists. */
  readonly makesKey: boolean;
  /** The host's address as the master's socket sees it; "" when it cannot tell. */
  readonly address: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Leases of this secret for this purpose and volume in the boot that the host says it is in, this one left out. */
  readonly leasesThisBoot: number | null;
  /** Such leases to `open`, whatever is asked for now. */
  readonly opensThisBoot: number | null;
  /** True until a lease in this boot that was its first ever, announced, or approved although it was not. */
  readonly newBoot: boolean | null;
  /** Whether this host was ever given this secret before. */
  readonly everLeased: boolean | null;
  /** Whether an operator announced a reboot of this host and the window is still open. */
  readonly rebootAnnounced: boolean | null;
  /**
   * Longest silence of the host's signed heartbeats since its last lease that no rule on silence objected to, or that
   * people approved although one did; in milliseconds, 0 when it has none to miss.
   */
  readonly silentMs: number | null;
  /** Leases of this secret to this host in the 24 hours before now. */
  readonly leasesInDay: number | null;
  readonly approvals: readonly Approval[];
  /** Operators who asked for what led here (pushed the run, announced the reboot), who therefore cannot approve it. */
  readonly askers: readonly string[];
  readonly grains: JsonObject | null;
  /** The host's LUKS header, by its own word; "" and 0 for none. */
  readonly cipher: string;
  readonly sectorSize: number;
  readonly integrity: string;
  /** Whether that header was compared, field by field, with the one that the master has on record: false at a first use. */
  readonly headerKnown: boolean;
}

/** Facts that are the host's own word (its boot_id tells boots apart): a host that was taken over says what it likes. */
export const CLAIMED_FACTS = [
  "purpose",
  "grains",
  "cipher",
  "sectorSize",
  "integrity",
  "headerKnown",
  "newBoot",
  "leasesThisBoot",
  "opensThisBoot",
] as const satisfies readonly (keyof ReleaseFacts)[];

export type Verdict = "allow" | "deny" | "hold";

/** Codes that say how many have approved: they come and go while a hold is one and the same. */
export const TALLY_CODES: ReadonlySet<string> = new Set(["approvals", "approved"]);

/** One named ground of a verdict. */
export interface Reason {
  /** Stable word for programs, such as `once-a-boot`. */
  readonly code: string;
  /** One sentence part for people, lower case. */
  readonly text: string;
}

export interface Decision {
  readonly verdict: Verdict;
  /** The rule that decided; undefined when none matched, or when there is no release policy. */
  readonly rule: string | undefined;
  readonly reasons: readonly Reason[];
  /** What would lift a hold. */
  readonly approvalsNeeded:
    | { readonly count: number; readonly of: readonly string[] | undefined; readonly have: number }
    | undefined;
  /** Why the rules before the deciding one did not match, in order: for `explain`. */
  readonly passedOver: readonly { readonly rule: string; readonly reason: Reason }[];
}
