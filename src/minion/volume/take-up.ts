import { errorMessage } from "../../core/errors.ts";
import { jidAt } from "../../core/ids.ts";
import type { FunctionCall } from "../execute.ts";
import type { Jobs } from "../jobs.ts";
import type { Machine } from "../machine.ts";

/** How long the question for work, and each step of it, waits for the master. */
const WAIT_MS = 60_000;
/** What is noted in the journal under these names was cut short, and has a function that goes on with it. */
const RESUMED: Readonly<Record<string, string>> = {
  "rotate:": "volume.rotate_resume",
  "reencrypt:": "volume.reencrypt_resume",
};
const LONG = "volume.reencrypt_resume";

/** What taking up needs. */
export interface TakeUpOptions {
  readonly machine: Machine;
  readonly jobs: Pick<Jobs, "runOwn">;
  readonly signal: AbortSignal;
}

/**
 * Goes on with what was cut short on volumes, and does what the master has kept for this host while it was away: once the
 * startup run has ended, and then on every new session. Each piece is a run of its own, and the master gets its return.
 */
export class TakeUp {
  readonly #options: TakeUpOptions;
  #isReady = false;
  #running: Promise<void> | undefined;
  #again = false;
  /** Re-encryptions, by volume: they take hours, and nothing waits for them. */
  readonly #long = new Map<string, Promise<void>>();

  constructor(options: TakeUpOptions) {
    this.#options = options;
  }

  /** The startup run has ended, well or not: volumes that can be up are. */
  begin(): void {
    this.#isReady = true;
    this.connected();
  }

  /** There is a new session with the master. */
  connected(): void {
    if (!this.#isReady || this.#options.signal.aborted) return;
    this.#again = true;
    this.#running ??= this.#run().finally(() => (this.#running = undefined));
  }

  /** Resolves when nothing of it runs. */
  async idle(): Promise<void> {
    await this.#running;
    await Promise.all(this.#long.values());
  }

  async #run(): Promise<void> {
    const { signal } = this.#options;
    while (this.#again && !signal.aborted) {
      this.#again = false;
      try {
        for (const call of await this.#wanted()) {
          if (call.fun === LONG) this.#begin(call);
          else await this.#do(call);
        }
      } catch (error) {
        this.#leave(error);
      }
    }
  }

  #leave(error: unknown): void {
    const { machine, signal } = this.#options;
    if (!signal.aborted) machine.log.warn({ reason: errorMessage(error) }, "work on volumes is left for later");
  }

  #begin(call: FunctionCall): void {
    const [volume] = call.args;
    if (typeof volume !== "string" || this.#long.has(volume)) return;
    const done = this.#do(call)
      .catch((error: unknown) => this.#leave(error))
      .finally(() => this.#long.delete(volume));
    this.#long.set(volume, done);
  }

  /** What is noted here, and what the master knows of. */
  async #wanted(): Promise<readonly FunctionCall[]> {
    const { machine, signal } = this.#options;
    const calls = new Map<string, FunctionCall>();
    const add = (fun: string, volume: string, kwargs: FunctionCall["kwargs"]) =>
      calls.set(`${fun} ${volume}`, { fun, args: [volume], kwargs });
    for (const key of await machine.journal.keys()) {
      for (const [prefix, fun] of Object.entries(RESUMED)) {
        if (key.startsWith(prefix)) add(fun, key.slice(prefix.length), {});
      }
    }
    const { master } = machine.backing;
    const work =
      master === undefined ? [] : (await master.link.ask("volume.work", {}, { waitMs: WAIT_MS, signal })).work;
    for (const { kind, volume, keepOld } of work) {
      if (kind === "resume") add("volume.rotate_resume", volume, {});
      else if (!calls.has(`volume.rotate_resume ${volume}`)) {
        add("volume.rotate", volume, keepOld ? { keep_old: true } : {});
      }
    }
    return [...calls.values()];
  }

  async #do(call: FunctionCall): Promise<void> {
    const { machine, jobs, signal } = this.#options;
    const { clock, random, log } = machine;
    const jid = jidAt(clock.now(), Math.floor(random() * 1000));
    log.info({ jid, fun: call.fun }, "work on a volume is taken up");
    await jobs.runOwn({ jid, call, signal, waitMs: WAIT_MS, moment: () => {}, amend: (result) => result });
  }
}
