import type { Clock } from "../core/clock.ts";
import type { Host } from "../core/host.ts";
import type { JsonObject } from "../core/json.ts";
import type { Logger } from "../core/log.ts";
import type { VolumeStep } from "../core/volume-steps.ts";
import type { Backing } from "./backing.ts";
import type { MinionConfig } from "./config.ts";
import type { Journal } from "./journal.ts";
import type { RunLock } from "./run-lock.ts";
import type { VolumesTarget } from "./volumes-target.ts";

/** What all jobs on this machine share. */
export interface Machine {
  readonly config: MinionConfig;
  readonly host: Host;
  readonly grains: JsonObject;
  readonly backing: Backing;
  readonly journal: Journal;
  readonly lock: RunLock;
  readonly target: VolumesTarget;
  readonly clock: Clock;
  /** From 0 to below 1, for jitter. */
  readonly random: () => number;
  readonly log: Logger;
  /** Called at each step of what is not atomic: where tests end the process. */
  readonly reached?: (step: VolumeStep) => void;
}
