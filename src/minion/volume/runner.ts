import { ConfigError, TransportError } from "../../core/errors.ts";
import { didYouMean } from "../../sls/nearest.ts";
import type { JsonObject } from "../../core/json.ts";
import type { ApplyContext } from "../../states/state.ts";
import type { LayerKind } from "../../states/volume/layer.ts";
import { resolveIfPossible } from "../../states/volume/identity.ts";
import { readVolumes, type VolumeSpec } from "../../states/volume/spec.ts";
import type { MasterSide } from "../backing.ts";
import type { JobOptions } from "../job-context.ts";
import type { Leases } from "../lease.ts";
import type { Patience } from "../link.ts";
import type { Machine } from "../machine.ts";
import { describeHolder } from "../run-lock.ts";
import { escrowedUuid } from "./escrowed-uuid.ts";
import { loggedHost } from "./logged-host.ts";
import { dropRawHeader } from "./raw-header.ts";

/** What works on one volume: a state's context whose commands are logged with volume and layer, and the way to the master. */
export interface VolumeContext extends ApplyContext {
  readonly volume: VolumeSpec;
  readonly machine: Pick<Machine, "clock" | "config" | "log" | "random">;
  readonly patience: Patience;
  /** The same, its commands logged as this layer's. */
  at(layer: LayerKind): VolumeContext;
  /** The session with the master. Throws TransportError `no-master` with --local. */
  master(): MasterSide;
  /** Tells how far the job is: shown at the command line. */
  progress(current: string): void;
  /** The lines that `note` was given. */
  notes(): readonly string[];
  /** See `assertKeyKept` of guard.ts. */
  assertKeyKept(options: { readonly force: boolean }): Promise<void>;
  /** See `ApplyContext`. */
  forgetKey(): Promise<string>;
}

/** Works on the volumes that this minion's pillar declares. */
export interface VolumeRunner {
  /** The declared volumes, or those named. Throws ConfigError `bad-volume`, `no-volume` with the nearest name. */
  select(names: readonly string[]): Promise<readonly VolumeSpec[]>;
  /** For looking only; may be used while another run changes things. */
  context(volume: VolumeSpec): Promise<VolumeContext>;
  /** Runs `work` when no other state run or volume command of this machine runs. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
  /** At the end of such work: see `settleTarget`. Never throws. */
  settle(): Promise<void>;
}

/** What the volumes of one job need besides the machine. */
export interface VolumeRunnerOptions extends JobOptions {
  readonly patience: Patience;
  readonly leases: Leases;
  readonly pillar: () => Promise<JsonObject>;
}

/** Makes what one job works on volumes with. */
export function createVolumeRunner(machine: Machine, options: VolumeRunnerOptions): VolumeRunner {
  const { host, journal, lock, clock, log, backing, grains, target } = machine;
  const { jid, fun, signal, leases, patience } = options;

  const contextOf = (volume: VolumeSpec, pillar: JsonObject, notes: string[], layer: LayerKind): VolumeContext => ({
    ...journal,
    volume,
    machine,
    patience,
    host: loggedHost(host, log, { volume: volume.name, layer }),
    grains,
    pillar,
    signal,
    source: async () => undefined,
    render: (template) => template,
    leases: leases.records,
    lease: leases.lease,
    mounted: leases.mounted,
    note: (line) => {
      notes.push(line);
      log.info({ volume: volume.name }, line);
    },
    notes: () => notes,
    reached: (step) => machine.reached?.(step),
    progress: (current) => options.progress({ done: 0, total: 0, current: `${volume.name}: ${current}` }),
    at: (other) => contextOf(volume, pillar, notes, other),
    assertKeyKept: async (guard) => {
      const { assertKeyKept } = await import("./guard.ts");
      await assertKeyKept(contextOf(volume, pillar, notes, "luks"), guard);
    },
    forgetKey: async () => {
      const { forgetKey } = await import("./forget.ts");
      await dropRawHeader({ host, machine, volume });
      return forgetKey(backing.master, volume, patience);
    },
    beforeDown: async (how, ending) => target.leave(how, ending),
    escrowedUuid: async (name) => (backing.master === undefined ? "" : escrowedUuid(backing.master, name, patience)),
    master: () => {
      if (backing.master !== undefined) return backing.master;
      throw new TransportError("no-master", "cannot do this without a master", { hint: "run it without --local" });
    },
  });

  const runner: VolumeRunner = {
    select: async (names) => {
      const volumes = readVolumes(await options.pillar());
      const known = volumes.map(({ name }) => name);
      const unknown = names.find((name) => !known.includes(name));
      if (unknown !== undefined) {
        const hint = known.length === 0 ? "its pillar has no volumes: section" : `it has ${known.join(", ")}`;
        throw new ConfigError("no-volume", `cannot find volume "${unknown}"${didYouMean(unknown, known)}`, { hint });
      }
      return names.length === 0 ? volumes : volumes.filter(({ name }) => names.includes(name));
    },
    context: async (volume) => {
      const [pillar, notes] = [await options.pillar(), []];
      const context = contextOf(volume, pillar, notes, "dependents");
      const resolved = await resolveIfPossible(context, (line) => context.note(line));
      return contextOf(resolved, pillar, notes, "dependents");
    },
    exclusively: async (work) => {
      const release = await lock.acquire(
        { pid: process.pid, jid, fun, since: clock.now() },
        (other) => {
          const who = other === undefined ? "another state run" : describeHolder(other);
          log.info({ jid, fun }, `queued: ${who} is running`);
          options.progress({ done: 0, total: 0, current: `queued behind ${who}` });
        },
        signal,
      );
      try {
        return await work();
      } finally {
        await release();
      }
    },
    settle: async () => {
      const { settleTarget } = await import("./settle-target.ts");
      await settleTarget(machine, runner);
    },
  };
  return runner;
}
