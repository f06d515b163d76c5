import type { Checkpoint } from "./audit/chain.ts";
import type { Verification } from "./audit/verify.ts";
import type { Json, JsonObject } from "./json.ts";
import type { JobStatement } from "./operator-statement.ts";
import type { StuckErasure } from "./volume-api.ts";

/**
 * What the command line and the master's control API say to each other: HTTP on a unix socket, JSON bodies, streams as
 * newline-delimited JSON. Errors are `{ error: ControlError }` with a 4xx or 5xx status.
 */
export const CONTROL_SOCKET = "/run/latchkey-master/control.sock";

/** A request's header with the name of the user that the client says it runs for; noted in the audit log, proven by nothing. */
export const USER_HEADER = "latchkey-user";
/** Such a name; one that is not so is taken as none. */
export const USER_NAME = /^\w[\w.@-]{0,63}$/u;

export interface ControlError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  /** The exit status that the command line ends with. */
  readonly exitStatus: number;
  readonly facts?: JsonObject;
}

/**
 * `pending`: seen, not decided. `denied`: another key asked for an id that is already held; kept so that the operator
 * sees it. `barred`: accepted, but to be rejected or deleted, which could not be recorded; refused until the master stops.
 */
export type KeyState = "pending" | "accepted" | "rejected" | "denied" | "barred";

export interface KeyEntry {
  readonly id: string;
  readonly state: KeyState;
  readonly fingerprint: string;
  readonly address: string;
  /** Milliseconds since the epoch. */
  readonly firstSeen: number;
  readonly lastSeen: number;
}

/** `GET /v1/keys` */
export interface KeyList {
  readonly keys: readonly KeyEntry[];
}

/** `POST /v1/keys`: with `dryRun` only tells which keys the glob matches in a state that the action applies to. */
export interface KeyAction {
  readonly action: "accept" | "reject" | "delete";
  readonly match: string;
  readonly dryRun: boolean;
  /** Only keys with one of these fingerprints: those that the operator saw and meant. */
  readonly fingerprints?: readonly string[] | undefined;
  /** Delete keys of hosts that have provisioned volumes. */
  readonly force?: boolean | undefined;
}

export interface LastHighstate {
  readonly jid: string;
  readonly finishedAt: number;
  readonly success: boolean;
  readonly startup: boolean;
  readonly succeeded: number;
  readonly changed: number;
  readonly failed: number;
}

export interface MinionStatus {
  readonly id: string;
  readonly connected: boolean;
  /** Since when it is (or is not) connected; 0 for never seen since the master started. */
  readonly since: number;
  readonly address: string;
  readonly version: string;
  readonly running: readonly { readonly jid: string; readonly fun: string; readonly since: number }[];
  readonly lastHighstate: LastHighstate | null;
}

/** `GET /v1/status` */
export interface MasterStatus {
  readonly version: string;
  readonly fingerprint: string;
  readonly startedAt: number;
  readonly returnPort: number;
  /** To the request channel: with a session, without one yet, and the most that there may be. */
  readonly connections: { readonly sessions: number; readonly strangers: number; readonly most: number };
  /** Frames dropped and connections cut off or turned away since start, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  readonly audit: AuditStatus;
  readonly minions: readonly MinionStatus[];
  /** Volumes of accepted hosts that would not come up at the next boot, by what the hosts last reported. */
  readonly nextBootFails: readonly FailingVolume[];
  /** Final erases that were decided and cannot be carried through yet. */
  readonly stuckErasures: readonly StuckErasure[];
}

/** A volume that would not come up, and why. */
export interface FailingVolume {
  readonly id: string;
  readonly volume: string;
  /** When the master was told, milliseconds since the epoch. */
  readonly heardAt: number;
  readonly problems: readonly { readonly code: string; readonly text: string }[];
}

/** Where the audit log stands, and since when it cannot be written (null: it can). */
export interface AuditStatus {
  readonly seq: number;
  readonly failing: { readonly since: number; readonly reason: string } | null;
}

/**
 * What one minion says that it keeps. `problem`: why it could not say; `dispute`: what the master showed it that does not
 * go with what it keeps; "" when there is none.
 */
export interface WitnessAnswer {
  readonly id: string;
  readonly checkpoint: Checkpoint | null;
  readonly problem: string;
  readonly dispute: string;
}

/**
 * `GET /v1/audit/verify`; `?witness=1` asks the connected minions too. `GET /v1/audit` (filters `minion`, `kind`, `since`,
 * `until`, `limit`, `follow=1`) streams AuditRecord lines, `GET /v1/audit/:seq` is one, `GET /v1/audit/export` streams the
 * lines that `latchkey audit verify` proves.
 */
export interface AuditVerification extends Verification {
  readonly witnesses: readonly WitnessAnswer[];
}

/** `POST /v1/jobs`, answered by a stream of JobEvent. */
export interface JobRequest {
  readonly target: { readonly kind: "glob" | "list" | "grain"; readonly expr: string };
  readonly fun: string;
  readonly args: readonly Json[];
  readonly kwargs: JsonObject;
  /** How long to wait for returns after the last sign of life of a host. */
  readonly timeoutMs: number;
  /** Which operator pushes it, by their own word; left out by root, who signs nothing. */
  readonly pushed?: { readonly statement: JobStatement; readonly signature: string } | undefined;
}

export type JobEvent =
  | {
      readonly event: "start";
      readonly jid: string;
      readonly targets: readonly string[];
      readonly offline: readonly string[];
    }
  | { readonly event: "ack"; readonly id: string }
  | {
      readonly event: "progress";
      readonly id: string;
      readonly done: number;
      readonly total: number;
      readonly current: string;
    }
  | {
      readonly event: "return";
      readonly id: string;
      readonly fun: string;
      readonly success: boolean;
      readonly retcode: number;
      readonly data: Json;
      readonly durationMs: number;
    }
  /** No answer: never acknowledged, went silent, or named in the target without being an accepted minion. */
  | { readonly event: "missing"; readonly id: string; readonly reason: string }
  | { readonly event: "end"; readonly succeeded: number; readonly failed: number; readonly missing: number };

/** `GET /v1/jobs/:jid`: a job and what returned so far, also what came too late for its stream. 404 when it expired. */
export interface JobReport {
  readonly jid: string;
  readonly fun: string;
  readonly args: readonly Json[];
  readonly kwargs: JsonObject;
  readonly issuedAt: number;
  readonly targets: readonly string[];
  readonly returns: readonly {
    readonly id: string;
    readonly success: boolean;
    readonly retcode: number;
    readonly data: Json;
    readonly receivedAt: number;
    readonly durationMs: number;
  }[];
}

/** `GET /v1/leases`: the last ones, newest first, refused ones too; never key material. */
export interface LeaseList {
  readonly leases: readonly JsonObject[];
}

/** `GET /v1/pillar/:id`: compiled, secrets as `secret:<path>` references. */
export interface PillarShow {
  readonly id: string;
  /** There is no minion key of that id: this is what a host of that name would get. */
  readonly unknown?: true;
  readonly pillar: JsonObject;
}

/**
 * `GET /v1/pillar/:id/source`: the host's own pillar file with its secrets decrypted (plaintext: the socket is root's
 * alone). `revision` is the SHA-256 of the file as it stands on disk, "" when there is none yet.
 */
export interface PillarSource {
  readonly path: string;
  readonly revision: string;
  readonly text: string;
}

/** `PUT /v1/pillar/:id/source`; 409 when the file changed since `revision`, 422 when the text has a mistake. */
export interface PillarUpdate {
  readonly revision: string;
  readonly text: string;
  /** Save it although volumes would lose their key. */
  readonly force?: boolean | undefined;
}

export interface PillarUpdated {
  readonly changedSecrets: readonly string[];
  readonly warnings: readonly string[];
}

/** A line of `GET /v1/events`: what happens at the master (key pending, refused, lease, session, job). */
export interface ControlEvent {
  readonly at: number;
  readonly tag: string;
  readonly data: JsonObject;
}
