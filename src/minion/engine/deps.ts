import type { Clock } from "../../core/clock.ts";
import type { Host } from "../../core/host.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { VolumeStep } from "../../core/volume-steps.ts";
import type { LayerKind } from "../../states/volume/layer.ts";
import type { VolumeSpec } from "../../states/volume/spec.ts";
import type { AnyState, ApplyContext, CheckContext, LeaseRecord } from "../../states/state.ts";

/** A function of an execution module, as guards call it; what it returns counts as true or false. */
export type ExecutionFunction = (args: readonly Json[], kwargs: JsonObject, signal: AbortSignal) => Promise<Json>;

/** What a run is given of the world. */
export interface EngineDeps {
  /** The minion's id, for templates. */
  readonly id: string;
  readonly host: Host;
  readonly clock: Clock;
  /** From 0 to 1, for retry splay. */
  readonly random: () => number;
  readonly grains: JsonObject;
  readonly pillar: JsonObject;
  readonly states: readonly AnyState[];
  readonly source: CheckContext["source"];
  /** Hands out keys for the time of one call, and keeps the record of it, also of what is mounted on what they opened. */
  readonly leases: {
    readonly lease: ApplyContext["lease"];
    readonly mounted?: NonNullable<ApplyContext["mounted"]>;
    readonly records: () => readonly LeaseRecord[];
  };
  readonly journal: {
    begin(key: string, note: Json): Promise<void>;
    commit(key: string): Promise<void>;
    pending(key: string): Promise<Json | undefined>;
  };
  /** What states of volumes and their layers need of the minion; left out, they do without. */
  readonly volumes?: {
    readonly layerHost: (volume: string, layer: LayerKind) => Host;
    /** The host with its commands told as those of a single state of storage. */
    readonly stateHost: (state: string, subject: string, layer: LayerKind) => Host;
    readonly assertKeyKept: (
      context: ApplyContext,
      volume: VolumeSpec,
      options: { readonly force: boolean },
    ) => Promise<void>;
    readonly escrowedUuid: (volume: string) => Promise<string>;
    readonly forgetKey: (volume: VolumeSpec) => Promise<string>;
    readonly beforeDown: NonNullable<ApplyContext["beforeDown"]>;
  };
  /** Hears of each step of what is not atomic. */
  readonly reached?: (step: VolumeStep) => void;
  /** Undefined when there is no such function. */
  readonly execution: (fun: string) => ExecutionFunction | undefined;
}

/** How a run is to be done. */
export interface RunSettings {
  /** Say what would change; change nothing. */
  readonly test: boolean;
  readonly signal: AbortSignal;
  /** End the run at the first failure, as if every state had `failhard`. */
  readonly failhard?: boolean;
  /** Deadline of one state in milliseconds; Infinity for none. Default one hour. */
  readonly stateTimeoutMs?: number;
  /** Told before each state: how many are done, of how many, and which is next. Must not throw. */
  readonly progress?: (done: number, total: number, current: string) => void;
}

/** What became of one state. */
export interface Row {
  readonly result: boolean | null;
  readonly changes: JsonObject;
  readonly comment: string;
  /** False: its requisites kept it from running. */
  readonly ran: boolean;
  /** Skipped by unless, onlyif or creates: a fired watch does not count either. */
  readonly skipWatch?: boolean;
  /** Test mode: depends on what an earlier state would do. */
  readonly pending?: boolean;
}
