import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { KeyList, LeaseList, MasterStatus } from "../src/core/control-api.ts";
import type { JsonObject } from "../src/core/json.ts";
import type { HostChoices, Lab } from "./lab.ts";
import type { LabHost } from "./host.ts";
import type { LabMaster } from "./master.ts";
import { minionFiles } from "./minion.ts";
import { PROJECT } from "./place.ts";
import { makeRecoveryIdentity, recoverKeys, type RecoveredKey, type RecoveryIdentity } from "./recovery.ts";
import { waitUntil } from "./wait-until.ts";

/** What the just-in-time recipe builds on a lab host's blank disk. */
export const VOLUME = { vgName: "data", mountpoint: "/srv/data", device: "/dev/ubdb" } as const;

export interface SceneOptions {
  /** Services whose data is on the volume: SLS files of examples/states or of `extraStates`. */
  readonly dependents?: readonly string[];
  /** Further SLS files, by name, for this scene alone; only those that are dependents are run. */
  readonly extraStates?: Readonly<Record<string, string>>;
  readonly autoAccept?: boolean;
  readonly masterSettings?: JsonObject;
}

/** A master with the recipe's states and pillar, and what tests and the demo ask of it. */
export class Scene {
  readonly lab: Lab;
  readonly master: LabMaster;
  readonly #recovery: RecoveryIdentity;

  private constructor(lab: Lab, master: LabMaster, recovery: RecoveryIdentity) {
    this.lab = lab;
    this.master = master;
    this.#recovery = recovery;
  }

  /** Writes the trees and starts the master. */
  static async set(lab: Lab, options: SceneOptions): Promise<Scene> {
    const directory = join(lab.directory, `scene-${Math.random().toString(36).slice(2, 8)}`);
    const [states, pillar] = [join(directory, "states"), join(directory, "pillar")];
    for (const path of [states, pillar]) mkdirSync(path, { recursive: true });
    for (const [name, text] of Object.entries(options.extraStates ?? {})) {
      writeFileSync(join(states, `${name}.sls`), text);
    }
    writeFileSync(join(pillar, "top.sls"), "base:\n  '*':\n    - volume\n");
    const { vgName, mountpoint, device } = VOLUME;
    writeFileSync(
      join(pillar, "volume.sls"),
      `password: !generate
vg_name: ${vgName}
mountpoint: ${mountpoint}
dev_name: ${device}
dependents: ${JSON.stringify(options.dependents ?? [])}
`,
    );
    const recovery = await makeRecoveryIdentity(directory);
    const master = lab.addMaster({
      fileRoots: [states, join(PROJECT, "examples/states")],
      pillarRoots: [pillar],
      autoAccept: options.autoAccept ?? true,
      settings: { recovery_recipients: [recovery.recipient], ...options.masterSettings },
    });
    await master.start();
    return new Scene(lab, master, recovery);
  }

  /** A host that is this master's minion by the pinned fingerprint, switched off. */
  async addMinion(id: string, settings: JsonObject = {}, choices: HostChoices = {}): Promise<LabHost> {
    const { fingerprint } = await this.master.query<MasterStatus>(["status"]);
    const files = { ...minionFiles({ id, master_finger: fingerprint, ...settings }), ...choices.files };
    return this.lab.addHost(id, { ...choices, files });
  }

  async keys(): Promise<KeyList["keys"]> {
    return (await this.master.query<KeyList>(["keys", "list"])).keys;
  }

  async leases(): Promise<LeaseList["leases"]> {
    return (await this.master.query<LeaseList>(["leases"])).leases;
  }

  /** Waits until the host's startup run has ended at the master, later than `after` (ms since the epoch). */
  async startupRun(id: string, after: number, timeoutMs = 150_000): Promise<NonNullable<MinionRun>> {
    return waitUntil(`the startup run of ${id}`, async () => this.#run(id, after), timeoutMs, 400);
  }

  /** Everything that the master prints about a host's runs: its startup run, a run pushed now, its pillar and leases. */
  async printed(id: string): Promise<string> {
    const status = await this.master.query<MasterStatus>(["status"]);
    const jids = status.minions.flatMap(({ lastHighstate }) => (lastHighstate ? [lastHighstate.jid] : []));
    const commands = [
      ...jids.flatMap((jid) => [
        ["jobs", "show", jid],
        ["jobs", "show", jid, "--out", "json"],
      ]),
      ["highstate", id],
      ["highstate", id, "--out", "json"],
      ["pillar", "show", id],
      ["run", id, "pillar.items"],
      // what somebody might have left in a return, and what the test of this search leaves there
      ["run", id, "cmd.run", "cat /lab/said || true"],
      ["leases"],
      ["status"],
    ];
    let text = "";
    for (const words of commands) {
      const { stdout, stderr } = await this.master.cli(words, { timeoutMs: 60_000, okCodes: [0, 1, 2] });
      text += `${words.join(" ")}\n${stdout}${stderr}\n`;
    }
    return text;
  }

  /** The keys that must be nowhere but in the master's store. */
  releasedKeys(): readonly RecoveredKey[] {
    return recoverKeys(this.master, this.#recovery);
  }

  async #run(id: string, after: number): Promise<MinionRun> {
    const { minions } = await this.master.query<MasterStatus>(["status"]);
    const run = minions.find((minion) => minion.id === id)?.lastHighstate ?? null;
    return run && run.startup && run.finishedAt > after ? run : null;
  }
}

type MinionRun = MasterStatus["minions"][number]["lastHighstate"];
