import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../src/core/clock.ts";
import type { Json } from "../../../src/core/json.ts";
import { createLogger } from "../../../src/core/log.ts";
import { createLeases } from "../../../src/minion/lease.ts";
import { createLink } from "../../../src/minion/link.ts";
import { reportVolumes } from "../../../src/minion/volume/report.ts";
import type { VolumeContext } from "../../../src/minion/volume/runner.ts";
import type { MasterConfig } from "../../../src/master/config.ts";
import { type Rig, rig } from "../../contract/master/rig.ts";
import { startMinion, type TestMinion } from "../../contract/wire/pair.ts";
import type { Machine } from "./machine.ts";
import { StateRun } from "./state-run.ts";
import { volumeContext, volumeOf } from "./volume-context.ts";

/** A master in this process, and the way of one minion's volumes to it: real sessions, leases and store. */
export class WithMaster {
  readonly one: Rig;
  readonly minion: TestMinion;
  readonly run: StateRun;
  readonly #machine: Machine;

  private constructor(one: Rig, minion: TestMinion, machine: Machine) {
    this.one = one;
    this.minion = minion;
    this.#machine = machine;
    this.run = new StateRun(machine.host, machine.directory);
  }

  /** Starts a master whose pillar for `host1` declares these volumes. */
  static async start(
    machine: Machine,
    volumes: Readonly<Record<string, string>>,
    more: Partial<MasterConfig> = {},
  ): Promise<WithMaster> {
    const directory = join(machine.directory, "master");
    for (const name of ["pillar/hosts", "states"]) mkdirSync(join(directory, name), { recursive: true });
    const sections = Object.entries(volumes).map(([name, yaml]) => `  ${name}: ${yaml}\n`);
    writeFileSync(join(directory, "pillar/hosts/host1.yaml"), `volumes:\n${sections.join("")}`);
    const one = await rig(directory, {}, { auto_accept: true, ...more });
    const ports = { returnPort: one.master.ports.return };
    const minion = startMinion(ports, { id: "host1", fingerprints: [one.master.fingerprint] });
    await minion.connection.ready(AbortSignal.timeout(60_000));
    return new WithMaster(one, minion, machine);
  }

  /** A context for a volume, declared as in the pillar but with its key as the reference that a compiled pillar has. */
  context(name: string, section: Readonly<Record<string, Json>>): VolumeContext {
    const { connection, identity } = this.minion;
    const link = createLink(connection, systemClock, () => 0.5);
    const { signal } = this.run.context;
    const leases = createLeases({
      host: this.#machine.host,
      link,
      identity,
      bootId: "b",
      clock: systemClock,
      log: createLogger("test", "silent"),
      random: () => 0.5,
      waitMs: 20_000,
      signal,
      onWait: () => {},
      onLostReceipt: () => {},
    });
    const master = { link, identity, bootId: "b" };
    return volumeContext(this.run, volumeOf(name, section), this.#machine.directory, { master, lease: leases.lease });
  }

  /** Tells the master how these volumes are. */
  async report(...contexts: readonly VolumeContext[]): Promise<void> {
    const [first] = contexts;
    if (first === undefined) return;
    await reportVolumes({
      machine: { log: first.machine.log, backing: { master: first.master() } },
      volumes: {
        select: async () => contexts.map(({ volume }) => volume),
        context: async (volume) => contexts.find((context) => context.volume === volume) ?? first,
      },
    });
  }

  async stop(): Promise<void> {
    await this.minion.connection.close();
    await this.one.stop();
  }
}
