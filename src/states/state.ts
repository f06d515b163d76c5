import type { Host } from "../core/host.ts";
import type { Json } from "../core/json.ts";
import type { LeasePurpose } from "../core/lease-purpose.ts";
import type { z } from "../core/schema.ts";
import type { Secret } from "../core/secret.ts";
import type { VolumeStep } from "../core/volume-steps.ts";
import type { LayerKind } from "./volume/layer.ts";
import type { VolumeSpec } from "./volume/spec.ts";

/** One difference between what is and what should be. Plain data: printed, returned, audited; never key material. */
export interface Change {
  readonly field: string;
  readonly from: Json;
  readonly to: Json;
}

/** What the master is told about the volume that a key is leased for. */
export interface LeaseSubject {
  /** The block device, such as `/dev/vg0/data`. */
  readonly device: string;
  /** UUID of the LUKS header, when there is one, or of the one that is about to be made. */
  readonly luksUuid?: string;
  /** The key is for a re-encryption of the volume. */
  readonly reencrypts?: boolean;
  /** A stored version of the secret; the current one when left out. Which may be had, and for what, the master decides. */
  readonly version?: number;
  /** How long this one lease may wait for the master or for approval, when that is less than its run may. */
  readonly waitMs?: number;
}

/** A leased key, in hand for the time of one call. */
export interface LeasedKey {
  readonly secret: Secret;
  /** True when the master made the key (32 random bytes): a machine keyslot needs no slow KDF. */
  readonly generated: boolean;
  /** Version of the secret at the master, from 1. */
  readonly version: number;
}

/** The life of one lease, as the run's return shows it. Times are milliseconds since the epoch. */
export interface LeaseRecord {
  readonly ref: string;
  readonly purpose: LeasePurpose;
  readonly leasedAt: number;
  readonly usedAt: number;
  readonly wipedAt: number;
}

/** A file of the master's file roots, content proven against its SHA-256. */
export interface SourceFile {
  readonly data: Buffer;
  readonly sha256: string;
}

/** What a state may use to look, and nothing else. */
export interface CheckContext {
  readonly host: Host;
  readonly grains: Readonly<Record<string, Json>>;
  readonly pillar: Readonly<Record<string, Json>>;
  readonly signal: AbortSignal;
  /** A file of the file roots, from `salt://path` or a bare path; undefined when there is none. */
  source(url: string): Promise<SourceFile | undefined>;
  /** Renders a handlebars template with grains, pillar and `context`; throws ConfigError with the line. */
  render(template: string, url: string, context: Readonly<Record<string, Json>>): string;
  /** The leases of this run so far. */
  leases(): readonly LeaseRecord[];
  /** The host with its commands told as those of a layer of a volume; left out where nobody keeps account. */
  layerHost?(volume: string, layer: LayerKind): Host;
  /** Whether `journal.begin` was called for this key and no `commit` yet, with what was noted then. */
  pending(key: string): Promise<Json | undefined>;
}

/** What a state may use to act. */
export interface ApplyContext extends CheckContext {
  /**
   * Leases the key that `ref` (`secret:<pillar path>`) names, hands it to `use`, and wipes it when `use` ends, however
   * it ends. Throws AuthError when the master refuses, TransportError when it cannot be reached before the deadline.
   */
  lease<T>(ref: string, purpose: LeasePurpose, subject: LeaseSubject, use: (key: LeasedKey) => Promise<T>): Promise<T>;
  /**
   * Says that the file system on this device has just been mounted, so that the master hears of it for each lease that opened
   * what lies below. Returns at once, never throws; left out where nobody keeps account.
   */
  mounted?(device: string): void;
  /** Notes on disk, synced, that something not atomic starts (a format); `commit` ends it. Survives a power cut. */
  begin(key: string, note: Json): Promise<void>;
  commit(key: string): Promise<void>;
  /** Adds a line to the state's comment. */
  note(line: string): void;
  /** Throws unless a stored key is proven to open the volume again (or `force`); left out where there is nobody to ask. */
  assertKeyKept?(options: { readonly force: boolean }, volume: VolumeSpec): Promise<void>;
  /**
   * A volume is about to go down, what depends on it by name is stopped: stops latchkey-volumes.target and what requires that,
   * and waits for it or not. Throws HostError.
   */
  beforeDown?(how: "wait" | "at once", signal: AbortSignal): Promise<void>;
  /** Has the master set the volume's key aside; tells in words what became of it, "" when there was none. */
  forgetKey?(volume: VolumeSpec): Promise<string>;
  /** UUID of the newest LUKS header that the master has in escrow of a volume, "" for none; left out without a master. */
  escrowedUuid?(volume: string): Promise<string>;
  /**
   * Says that a named step of what is not atomic was reached (its effect is on disk). It does nothing by itself: it is where
   * tests end the process, so that every step which the code lists is one at which it was killed.
   */
  reached(step: VolumeStep): void;
}

/** What an action did, or in test mode would do. `result` null means: would change. */
export interface Outcome {
  readonly result: boolean | null;
  readonly changes: Readonly<Record<string, Json>>;
  readonly comment: string;
}

interface StateBase<P> {
  /** `module.function`, such as `luks.opened`. */
  readonly name: string;
  /** One sentence for the reference. */
  readonly summary: string;
  /** Parameters, strict; the state's `name` is a parameter like the others and always given. Every field is described. */
  readonly params: z.ZodType<P>;
  /** What a fired watch does in place of the result, when nothing changed by itself (a service restarts). */
  readonly react?: (params: P, context: ApplyContext) => Promise<Outcome>;
  /** In test mode, what `react` would do; the default is a null result that says so. */
  readonly predictReact?: (params: P, context: CheckContext) => Promise<Outcome>;
}

/** A state that describes how things should be: the engine checks, applies, and checks again. */
export interface Resource<P> extends StateBase<P> {
  readonly kind: "resource";
  /** Reads only; `[]` when all is right. Throws HostError or ConfigError when it cannot be made right (wrong device). */
  readonly check: (params: P, context: CheckContext) => Promise<readonly Change[]>;
  /** Acts only on what `check` found. */
  readonly apply: (params: P, context: ApplyContext, changes: readonly Change[]) => Promise<void>;
  /** The comment when nothing had to be done; default "already in the correct state". */
  readonly settled?: (params: P) => string;
}

/** A state that always acts, guarded by unless, onlyif and creates; not checked again. */
export interface Action<P> extends StateBase<P> {
  readonly kind: "action";
  readonly predict: (params: P, context: CheckContext) => Promise<Outcome>;
  readonly act: (params: P, context: ApplyContext) => Promise<Outcome>;
}

export type State<P> = Action<P> | Resource<P>;

/**
 * A state as the registry keeps it. Its parameter type is known to the state's own file alone: `defineState` forgets it,
 * and the engine hands over only what `params` has parsed.
 */
export type AnyState = State<unknown>;

/** Registers a state, its parameter type forgotten. */
export function defineState<P>(state: State<P>): AnyState {
  return state as unknown as AnyState;
}
