import { join } from "node:path";
import { type Checkpoint, isSigned } from "../core/audit/chain.ts";
import { checkpointSchema } from "../core/audit/verify.ts";
import { errorMessage } from "../core/errors.ts";
import type { Host } from "../core/host.ts";
import { fingerprint, type PublicIdentity } from "../core/identity.ts";
import type { Logger } from "../core/log.ts";
import { z } from "../core/schema.ts";

const keptSchema = z.strictObject({
  checkpoint: checkpointSchema,
  /** What the master showed later that does not go with it; "" when all is well. */
  dispute: z.string(),
});
const fileSchema = z.record(z.string(), keptSchema);
type File = z.infer<typeof fileSchema>;

/** What a minion keeps of one master's audit log. */
export type WitnessedLog = z.infer<typeof keptSchema>;

const fileOf = (stateDir: string) => join(stateDir, "audit-checkpoints.json");

/** What is kept of each master's audit log, by the master's fingerprint. Throws HostError when it cannot be read. */
export async function readWitnessed(host: Host, stateDir: string): Promise<Readonly<Record<string, WitnessedLog>>> {
  const bytes = await host.readFile(fileOf(stateDir));
  return bytes === undefined ? {} : fileSchema.parse(JSON.parse(bytes.toString("utf8")));
}

/** What the witness rests on. */
export interface WitnessOptions {
  readonly host: Host;
  readonly stateDir: string;
  /** Whose session is live. */
  readonly master: () => PublicIdentity;
  readonly log: Logger;
}

/**
 * Keeps the newest signed checkpoint of the master's audit log on this machine's disk, so that a master that loses or
 * rewrites records later can be shown to have had them.
 */
export class Witness {
  readonly #options: WitnessOptions;
  #known: File | undefined;
  #turn: Promise<void> = Promise.resolve();

  constructor(options: WitnessOptions) {
    this.#options = options;
  }

  /** What is kept of this master's log; undefined when nothing is. */
  async kept(): Promise<Checkpoint | undefined> {
    return (await this.#file())[fingerprint(this.#options.master())]?.checkpoint;
  }

  /**
   * Keeps a checkpoint that the master calls its newest. One that it did not sign is dropped; one that is older than what
   * is kept, or another of the same number, replaces nothing and is held against the master. Never throws.
   */
  async take(checkpoint: Checkpoint): Promise<void> {
    const turn = this.#takeInTurn(this.#options.master(), checkpoint, this.#turn);
    this.#turn = turn;
    return turn;
  }

  async #takeInTurn(master: PublicIdentity, checkpoint: Checkpoint, before: Promise<void>): Promise<void> {
    await before;
    try {
      await this.#keep(master, checkpoint);
    } catch (error) {
      this.#options.log.error({ err: errorMessage(error) }, "cannot keep the checkpoint of the master's audit log");
    }
  }

  async #keep(master: PublicIdentity, checkpoint: Checkpoint): Promise<void> {
    const { log } = this.#options;
    if (!isSigned("checkpoint", checkpoint, master.signKey)) {
      log.error({ seq: checkpoint.seq }, "the master sent a checkpoint of its audit log that it has not signed");
      return;
    }
    const name = fingerprint(master);
    const before = (await this.#file())[name];
    if (before?.checkpoint.seq === checkpoint.seq && before.checkpoint.hash === checkpoint.hash) return;
    if (before === undefined || checkpoint.seq > before.checkpoint.seq) {
      await this.#save(name, { checkpoint, dispute: before?.dispute ?? "" });
      return;
    }
    const dispute =
      checkpoint.seq === before.checkpoint.seq
        ? `the master signed two records ${checkpoint.seq}: its audit log was rewritten`
        : `the master now ends at record ${checkpoint.seq}, after it signed ${before.checkpoint.seq}: its audit log was cut off`;
    if (dispute === before.dispute) return;
    log.error({ kept: before.checkpoint, shown: checkpoint }, dispute);
    await this.#save(name, { ...before, dispute });
  }

  async #file(): Promise<File> {
    const { host, stateDir, log } = this.#options;
    if (this.#known) return this.#known;
    try {
      this.#known = { ...(await readWitnessed(host, stateDir)) };
    } catch (error) {
      log.error({ err: errorMessage(error) }, "the kept checkpoints of the master's audit log cannot be read");
      this.#known = {};
    }
    return this.#known;
  }

  async #save(name: string, kept: WitnessedLog): Promise<void> {
    const { host, stateDir } = this.#options;
    const next = { ...(await this.#file()), [name]: kept };
    await host.writeFile(fileOf(stateDir), Buffer.from(`${JSON.stringify(next, undefined, 2)}\n`), { mode: 0o600 });
    this.#known = next;
  }
}
