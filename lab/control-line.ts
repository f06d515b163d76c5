import type { Duplex } from "node:stream";
import { HostError } from "../src/core/errors.ts";
import type { CommandOptions, CommandResult } from "./command.ts";

interface Pending {
  readonly resolve: (result: CommandResult) => void;
  readonly reject: (error: HostError) => void;
}

const unhex = (text: string) => Buffer.from(text.slice(1), "hex").toString();

/**
 * The lab's way into one boot of a host: a serial line with an agent at its other end (lab/guest/agent.pl), which works
 * with the network down and the product dead. One line a request, one an answer, both hexadecimal.
 */
export class ControlLine {
  readonly #stream: Duplex;
  readonly #pending = new Map<number, Pending>();
  readonly #ready = Promise.withResolvers<void>();
  #next = 1;
  #gone = false;

  constructor(stream: Duplex) {
    this.#stream = stream;
    this.#ready.promise.catch(() => undefined);
    let rest = "";
    stream.setEncoding("latin1");
    stream.on("data", (chunk: string) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#answer(line);
    });
    stream.on("error", () => this.end());
  }

  /** Until the agent is up. Throws HostError when the host goes down first. */
  ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Runs a shell script in the host as root. Throws HostError when it fails, takes too long, or the host goes down. */
  async run(script: string, { timeoutMs = 60_000, okCodes = [0] }: CommandOptions = {}): Promise<CommandResult> {
    await this.ready();
    if (this.#gone) throw new HostError("host-down", "cannot run a command in a host that is down");
    const number = this.#next++;
    const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
    this.#pending.set(number, { resolve, reject });
    this.#stream.write(`${number} ${Buffer.from(script).toString("hex")}\n`);
    const timer = setTimeout(() => {
      this.#pending.delete(number);
      reject(new HostError("lab-timeout", `no answer from the host within ${timeoutMs} ms to: ${script}`));
    }, timeoutMs);
    try {
      const result = await promise;
      if (okCodes.includes(result.exitCode)) return result;
      const said = `${result.stderr}${result.stdout}`.trim().split("\n").slice(-15).join("\n");
      throw new HostError("guest-command-failed", `exit ${result.exitCode} in the host from: ${script}\n${said}`);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The host is down: whoever still waits is told so. */
  end(): void {
    this.#gone = true;
    const error = new HostError("host-down", "the host went down");
    this.#ready.reject(error);
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  #answer(line: string): void {
    if (line.trim() === "ready") {
      this.#ready.resolve();
      return;
    }
    const [number, code, out, err] = line.trim().split(" ");
    const pending = this.#pending.get(Number(number));
    if (!pending || code === undefined || out === undefined || err === undefined) return;
    this.#pending.delete(Number(number));
    pending.resolve({ exitCode: Number(code), stdout: unhex(out), stderr: unhex(err) });
  }
}
