import type { Host } from "../../../src/core/host.ts";
import type { Json } from "../../../src/core/json.ts";
import { bringUp } from "../../../src/states/volume/bring-up.ts";
import type { LayerKind } from "../../../src/states/volume/layer.ts";
import { planStack } from "../../../src/states/volume/plan.ts";
import { parseVolume, type VolumeSpec } from "../../../src/states/volume/spec.ts";
import { type StackContext, stackContext } from "../../../src/states/volume/stack-context.ts";
import { takeDown, type TakeDownOptions } from "../../../src/states/volume/take-down.ts";
import type { Machine } from "./machine.ts";
import { Services } from "./services.ts";
import { machineKey, StateRun, type TestKey } from "./state-run.ts";

let minions = 0;

/** A volume on a real kernel: the commands that were run, layer by layer, and what was noted. */
export class Stack {
  readonly volume: VolumeSpec;
  readonly services: Services;
  readonly #machine: Machine;
  /** What this minion keeps: each volume here is another minion's. */
  readonly #root: string;
  readonly #keys: Record<string, TestKey>;
  /** Commands of the last act, `layer: program`. */
  commands: string[] = [];
  notes: string[] = [];
  steps: string[] = [];
  /** Stands between the act and the machine: a test may break commands here. */
  spoil: (host: Host) => Host = (host) => host;

  constructor(machine: Machine, name: string, declared: Json, key: TestKey = machineKey()) {
    this.#machine = machine;
    minions += 1;
    this.#root = `${machine.directory}/minion${minions}`;
    this.volume = parseVolume(name, declared);
    this.services = new Services(this.volume.dependents);
    this.#keys = this.volume.luks === undefined ? {} : { [this.volume.luks.key]: key };
  }

  /** Another key from now on: one that the master would hand out by mistake. */
  changeKey(key: TestKey): void {
    if (this.volume.luks !== undefined) this.#keys[this.volume.luks.key] = key;
  }

  get mountPoint(): string {
    return this.volume.mount?.point ?? "";
  }

  context(): StackContext {
    this.commands = [];
    const host = this.spoil(this.services.on(this.#machine.host));
    const run = new StateRun(host, this.#root, this.#keys);
    this.notes = run.notes;
    this.steps = run.steps;
    const layerHost = (_volume: string, layer: LayerKind): Host => ({
      ...host,
      run: (argv, options) => {
        this.commands.push(`${layer}: ${argv[0]}`);
        return host.run(argv, options);
      },
    });
    return stackContext({ ...run.context, layerHost }, this.volume);
  }

  provision() {
    return bringUp(this.context(), { mayFormat: true });
  }

  start() {
    return bringUp(this.context(), { mayFormat: false });
  }

  stop(options: Partial<TakeDownOptions> = {}) {
    return takeDown(this.context(), { killHolders: false, ...options });
  }

  plan() {
    return planStack(this.context(), this.volume);
  }
}
