import type { Json, JsonObject } from "./json.ts";
import type { LeasePurpose } from "./lease-purpose.ts";
import type { ApprovalStatement, RebootStatement } from "./operator-statement.ts";

/** A lease that waits for approval, or was denied, as the control API shows it. */
export interface HoldEntry {
  readonly holdId: string;
  readonly id: string;
  readonly path: string;
  readonly purpose: string;
  readonly device: string;
  readonly luksUuid: string;
  /** By the host's word. */
  readonly bootId: string;
  readonly address: string;
  readonly rule: string;
  readonly reasons: readonly { readonly code: string; readonly text: string }[];
  readonly reasonsHash: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
  readonly askedAt: number;
  readonly needed: { readonly count: number; readonly of: readonly string[] | null };
  /** Those that count now. */
  readonly approvals: readonly { readonly operator: string; readonly at: number; readonly expires: number }[];
  readonly askers: readonly string[];
  readonly denied: { readonly by: string; readonly at: number } | null;
}

export interface RevocationEntry {
  readonly id: string;
  /** null: every secret. */
  readonly path: string | null;
  readonly by: string;
  readonly at: number;
}

/** `GET /v1/holds`: with all that an approval's statement needs. */
export interface HoldList {
  readonly holds: readonly HoldEntry[];
  readonly revocations: readonly RevocationEntry[];
  /** Secrets (path null: all of the host) whose leases wait until their volume is unlocked. */
  readonly locks?: readonly LockEntry[];
  readonly master: string;
  readonly now: number;
  readonly approvalMs: number;
  readonly operators: number;
}

/** A lock on the leases of a host; `volume` "" when it is on all of them. */
export interface LockEntry {
  readonly id: string;
  readonly path: string | null;
  readonly volume: string;
  readonly by: string;
  readonly at: number;
}

/** `POST /v1/holds/approve`; the signature may be left out only while no operators are registered. */
export interface ApprovalRequest {
  readonly statement: ApprovalStatement;
  readonly signature?: string | undefined;
}

/** `POST /v1/holds/deny` */
export interface DenialRequest {
  readonly hold: string;
}

/** `POST /v1/revocations`: `allow` lifts them again; answered by `RevocationAnswer`. */
export interface RevocationRequest {
  readonly action: "allow" | "revoke";
  readonly id: string;
  readonly path: string | null;
}

/** What `allow` lifted: revocations, and denials of holds. */
export interface RevocationAnswer {
  readonly lifted: number;
  readonly denials: number;
  /** Of a `revoke`: what it is about, as far as the master knows. `secret-unknown`: the host's pillar does not name it. */
  readonly about?: "host-unknown" | "known" | "secret-unknown" | undefined;
}

/** `POST /v1/reboots`; answered by `RebootAnnounced`. */
export interface RebootRequest {
  readonly statement: RebootStatement;
  readonly signature?: string | undefined;
  /** Do it although a volume would be left without a verified copy of its key. */
  readonly force?: boolean | undefined;
}

export interface RebootAnnounced {
  readonly ids: readonly string[];
  /** Named in the target, but no accepted minions. */
  readonly unknown: readonly string[];
  readonly until: number;
}

/** `GET /v1/operators` */
export interface OperatorList {
  readonly operators: readonly { readonly name: string; readonly publicKey: string; readonly addedAt: number }[];
}

/** `POST /v1/operators` */
export type OperatorRequest =
  | { readonly action: "add"; readonly name: string; readonly publicKey: string }
  | { readonly action: "remove"; readonly name: string };

/** `GET /v1/policy` */
export interface PolicyStatus {
  readonly path: string;
  /** `none`: no file, and hosts may have what their own pillar names. `broken`: nothing is released. */
  readonly kind: "broken" | "none" | "policy";
  readonly hash: string;
  readonly problem: string;
  readonly rules: readonly {
    readonly name: string;
    readonly verdict: string;
    readonly match: Json;
    readonly require: Json;
  }[];
  readonly nodegroups: Readonly<Record<string, readonly string[]>>;
}

/** `POST /v1/policy/explain` */
export interface ExplainRequest {
  readonly id: string;
  readonly path: string;
  readonly purpose: LeasePurpose;
  /** Milliseconds since the epoch; now when left out. */
  readonly at?: number | undefined;
  /** As if the host had restarted since. */
  readonly newBoot: boolean;
  /** As if it came from there. */
  readonly address?: string | undefined;
}

export interface Explained {
  readonly verdict: "allow" | "deny" | "hold";
  readonly rule: string | null;
  readonly reasons: readonly { readonly code: string; readonly text: string }[];
  readonly policyHash: string;
  readonly facts: JsonObject;
  /** Names of the facts that are the host's own word, or rest on it. */
  readonly claims: readonly string[];
  readonly passedOver: readonly {
    readonly rule: string;
    readonly reason: { readonly code: string; readonly text: string };
  }[];
  readonly approvalsNeeded: {
    readonly count: number;
    readonly of: readonly string[] | null;
    readonly have: number;
  } | null;
}

/** One case of `latchkey policy test`. */
export interface PolicyTestResult {
  readonly name: string;
  readonly passed: boolean;
  readonly wanted: string;
  readonly got: string;
  readonly rule: string;
  /** What was wanted and what came, when they differ. */
  readonly difference: string;
}
