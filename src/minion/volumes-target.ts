import { join } from "node:path";
import { errorMessage } from "../core/errors.ts";
import type { Host } from "../core/host.ts";
import type { Logger } from "../core/log.ts";

/** The unit that services order themselves after: up while the volumes are. */
export const VOLUMES_TARGET = "latchkey-volumes.target";

/** As systemd's own tools: the time that services may take to end is systemd's matter. */
const STOP_TIMEOUT_MS = 600_000;
/** systemctl(1): there is no such unit. */
const NO_UNIT = 5;

/** Whether to wait until what needs the volumes has ended. */
export type Leaving = "wait" | "at once";
/** Whose wish it is: what the startup run itself takes down belongs to how things should be. */
export type Leaver = "another" | "startup";

/**
 * `latchkey-volumes.target` and the mark that its unit asks for. What is enabled into it lives on volumes (I9), so it is
 * reached only when they are proven to be up, once: to start a target that is up starts again what was stopped in it.
 */
export class VolumesTarget {
  readonly #runDir: string;
  readonly #host: Host;
  readonly #log: Logger;
  #departures = 0;
  #leaving: Promise<void> | undefined;
  /** A stop was begun and its end not seen: what is on the volumes may run still. */
  #isEnding = false;

  constructor(runDir: string, host: Host, log: Logger) {
    this.#runDir = runDir;
    this.#host = host;
    this.#log = log;
  }

  /**
   * How often volumes began to go down in this process, other than by the startup run's own states: what was proven before
   * another number counts no more.
   */
  get departures(): number {
    return this.#departures;
  }

  /** Whether it was reached in this boot, and left no more since. */
  async isReached(): Promise<boolean> {
    return (await this.#host.stat(this.#mark)) !== undefined;
  }

  /** Leaves the mark and starts the target where systemd runs. False, and logged, when the mark cannot be written. */
  async reach(): Promise<boolean> {
    try {
      await this.#host.makeDirectory(this.#runDir, 0o755);
      await this.#host.writeFile(this.#mark, Buffer.from(""), { mode: 0o644 });
    } catch (thrown) {
      this.#log.error(
        { reason: errorMessage(thrown) },
        `"${this.#mark}" could not be written: ${VOLUMES_TARGET} waits`,
      );
      return false;
    }
    this.#isEnding = false;
    if (!(await this.#hasSystemd())) return true;
    try {
      await this.#host.run(["systemctl", "start", "--no-block", VOLUMES_TARGET]);
      this.#log.info(`${VOLUMES_TARGET} started`);
    } catch (thrown) {
      this.#log.error({ reason: errorMessage(thrown) }, `${VOLUMES_TARGET} could not be started`);
    }
    return true;
  }

  /**
   * A volume is about to go down: removes the mark, and stops the target and with it whatever requires it. Whoever waits does
   * so until that has ended, no matter who began it. Throws HostError when systemd cannot do that: the next one tries again.
   */
  async leave(how: Leaving, signal: AbortSignal, by: Leaver = "another"): Promise<void> {
    if (by === "another") this.#departures += 1;
    while (this.#leaving !== undefined) {
      if (how === "at once") return;
      await endOf(this.#leaving, signal);
    }
    this.#leaving = this.#stop(how, signal);
    try {
      await this.#leaving;
    } finally {
      this.#leaving = undefined;
    }
  }

  async #stop(how: Leaving, signal: AbortSignal): Promise<void> {
    if (!this.#isEnding && !(await this.isReached())) return;
    // the mark first: from now on nothing pulls the target in again
    await this.#host.remove(this.#mark);
    if (!(await this.#hasSystemd())) return;
    this.#isEnding = true;
    const waiting = how === "wait" ? [] : ["--no-block"];
    const options = { okCodes: [0, NO_UNIT], timeoutMs: STOP_TIMEOUT_MS, signal };
    await this.#host.run(["systemctl", "stop", "--quiet", ...waiting, "--", VOLUMES_TARGET], options);
    if (how === "wait") this.#isEnding = false;
    this.#log.info(`${VOLUMES_TARGET} stopped: a volume goes down`);
  }

  get #mark(): string {
    return join(this.#runDir, "volumes-ready");
  }

  async #hasSystemd(): Promise<boolean> {
    return (await this.#host.stat("/run/systemd/system")) !== undefined;
  }
}

/** The end of that work, well or not. Throws the signal's reason when it fires before. */
async function endOf(work: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const turn = Promise.withResolvers<void>();
  const abort = () => turn.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    await Promise.race([work.catch(() => {}), turn.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
