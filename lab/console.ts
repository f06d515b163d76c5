import { createWriteStream, type WriteStream } from "node:fs";
import type { Readable } from "node:stream";
import { HostError } from "../src/core/errors.ts";

/** `kernel`: the console; `journal`: what the host's services say; `lab`: what the lab did to the host. */
export type LineSource = "kernel" | "journal" | "lab";

export interface ConsoleLine {
  /** When it arrived, in milliseconds since the epoch. */
  readonly at: number;
  readonly source: LineSource;
  readonly text: string;
  /** Which boot of the host it belongs to, from 1. */
  readonly boot: number;
}

interface Waiter {
  readonly matches: (line: ConsoleLine) => boolean;
  readonly found: (line: ConsoleLine) => void;
  readonly failed: (error: HostError) => void;
}

/** Colours and cursor movements, which systemd writes to a console. */
const ESCAPES = new RegExp(`${String.fromCodePoint(27)}\\[[0-9;?]*[A-Za-z]`, "gu");

/** Everything a host said, in the order in which it arrived, over all its boots; also written to a file as it comes. */
export class HostConsole {
  readonly path: string;
  readonly #lines: ConsoleLine[] = [];
  readonly #file: WriteStream;
  readonly #waiters = new Set<Waiter>();
  boot = 0;

  constructor(path: string) {
    this.path = path;
    this.#file = createWriteStream(path, { flags: "a", mode: 0o600 });
  }

  get lines(): readonly ConsoleLine[] {
    return this.#lines;
  }

  /** How many lines there are: with `waitFor({ after })`, only what comes later counts. */
  get mark(): number {
    return this.#lines.length;
  }

  add(source: LineSource, raw: string): void {
    const line = { at: Date.now(), source, text: raw.replace(ESCAPES, "").trimEnd(), boot: this.boot };
    this.#lines.push(line);
    this.#file.write(`${new Date(line.at).toISOString()} ${line.boot} ${source} ${line.text}\n`);
    for (const waiter of this.#waiters) if (waiter.matches(line)) waiter.found(line);
  }

  /** Reads lines from a stream until it ends. */
  follow(source: LineSource, stream: Readable): void {
    let rest = "";
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) this.add(source, part);
    });
    stream.on("error", () => stream.destroy());
  }

  /**
   * The first line that matches, among those after the mark `after` (default: all so far) and those to come. Throws
   * HostError with the last lines: `lab-timeout` when none comes in time, `host-down` when the host goes off first.
   */
  async waitFor(pattern: RegExp, timeoutMs: number, after = 0): Promise<ConsoleLine> {
    const matches = (line: ConsoleLine) => pattern.test(line.text);
    const already = this.#lines.slice(after).find(matches);
    if (already) return already;
    const { promise, resolve, reject } = Promise.withResolvers<ConsoleLine>();
    const waiter = { matches, found: resolve, failed: reject };
    const timer = setTimeout(() => {
      const message = `cannot see ${String(pattern)} within ${timeoutMs} ms; the last lines:\n${this.tail(25)}`;
      reject(new HostError("lab-timeout", message));
    }, timeoutMs);
    this.#waiters.add(waiter);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
    }
  }

  /** The host is off: whoever still waits for a line hears so at once. */
  end(): void {
    const error = new HostError("host-down", `the host went down; its last lines:\n${this.tail(25)}`);
    for (const { failed } of this.#waiters) failed(error);
  }

  /** The last lines as text. */
  tail(count: number): string {
    return this.#lines
      .slice(-count)
      .map((line) => `${line.source}: ${line.text}`)
      .join("\n");
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#file.end(resolve);
    });
  }
}
