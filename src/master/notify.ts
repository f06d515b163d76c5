import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { rootCertificates } from "node:tls";
import type { Clock } from "../core/clock.ts";
import { errorMessage } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import { Deliveries } from "./deliveries.ts";
import { Throttle } from "./leases/throttle.ts";

/** Whom to tell, and how. */
export interface NotifierOptions {
  /** What of: the options of the configuration begin with it, `hold_command` or `problem_command`. */
  readonly about: "hold" | "problem";
  /** Program and arguments; the facts come as JSON on its standard input. */
  readonly command: readonly string[] | undefined;
  /** Gets the facts as a JSON POST. */
  readonly webhook: string | undefined;
  /** File of certificates (PEM) that are believed besides those that Node brings. */
  readonly webhookCa?: string | undefined;
  readonly clock: Clock;
  /** Hears of each try that failed. */
  readonly report: (message: string, error: unknown) => void;
}

const TIMEOUT_MS = 10_000;
const TRIES = 6;
const FIRST_PAUSE_MS = 1000;
/** One host causes so many notices at once, then one in so many milliseconds. */
const PER_HOST = { burst: 10, everyMs: 60_000 };

/** Tells a program and a URL of what people should look at, each notice tried again with growing pauses; gives up after some minute. */
export class Notifier {
  readonly #options: NotifierOptions;
  readonly #throttle: Throttle;
  readonly #stop = new AbortController();
  readonly #receivers: readonly Deliveries[];

  constructor(options: NotifierOptions) {
    this.#options = options;
    const { command, webhook, webhookCa } = options;
    this.#receivers = [
      ...(command ? [this.#receiver("command", async (text, signal) => runCommand(command, text, signal))] : []),
      ...(webhook === undefined
        ? []
        : [this.#receiver("webhook", async (text, signal) => post(webhook, webhookCa, text, signal))]),
    ];
    this.#throttle = new Throttle(PER_HOST.burst, PER_HOST.everyMs, options.clock);
  }

  /**
   * Returns at once. A host that there is too much to say of is told of now and then only, with the number of notices that
   * were left out before as `suppressed`. The notice never has key material.
   */
  tell(host: string, notice: JsonObject): void {
    if (this.#receivers.length === 0) return;
    const suppressed = this.#throttle.take(host);
    if (suppressed === undefined) return;
    const told = suppressed === 0 ? notice : { ...notice, suppressed };
    for (const receiver of this.#receivers) receiver.add(host, told);
  }

  /** Ends what is under way. */
  close(): void {
    this.#stop.abort();
  }

  #receiver(kind: "command" | "webhook", send: (text: string, signal: AbortSignal) => Promise<void>): Deliveries {
    const { about, report } = this.#options;
    const name = `${about}_${kind}`;
    return new Deliveries({
      deliver: async (notice) => this.#persist(name, async (signal) => send(JSON.stringify(notice), signal)),
      summary: (count, hosts) => ({ event: "notices-left-out", about, count, hosts: [...hosts] }),
      full: () => report(`${name} is behind`, "too many notices wait: further ones are told of in one summary"),
    });
  }

  async #persist(name: string, attempt: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { clock, report } = this.#options;
    const { signal } = this.#stop;
    for (let tries = 1, pauseMs = FIRST_PAUSE_MS; !signal.aborted; tries += 1, pauseMs *= 3) {
      try {
        await attempt(AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]));
        return;
      } catch (error) {
        if (signal.aborted) return;
        report(`${name} failed (try ${tries} of ${TRIES})`, errorMessage(error));
        if (tries >= TRIES) return;
      }
      await clock.sleep(pauseMs, signal).catch(() => undefined);
    }
  }
}

async function runCommand([program = "", ...args]: readonly string[], input: string, signal: AbortSignal) {
  await new Promise<void>((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ["pipe", "ignore", "ignore"],
      env: { PATH: process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin" },
      signal,
      killSignal: "SIGKILL",
    });
    child.once("error", reject);
    child.once("close", (code) => (code === 0 ? resolve() : reject(new Error(`it ended with status ${code}`))));
    // a program that does not read its input is free not to
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

async function post(url: string, ca: string | undefined, body: string, signal: AbortSignal): Promise<void> {
  // not at the top: only a master with a webhook pays for loading them
  const { request } = url.startsWith("https:") ? await import("node:https") : await import("node:http");
  // read anew each time: certificates are replaced
  const believed = ca === undefined ? {} : { ca: [...rootCertificates, await readFile(ca, "utf8")] };
  await new Promise<void>((resolve, reject) => {
    const outgoing = request(url, {
      method: "POST",
      signal,
      agent: false,
      ...believed,
      headers: { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)) },
    });
    outgoing.once("error", reject);
    outgoing.once("response", (response) => {
      const status = response.statusCode ?? 0;
      response.resume();
      if (status >= 200 && status < 300) resolve();
      else reject(new Error(`it answered with status ${status}`));
    });
    outgoing.end(body);
  });
}
