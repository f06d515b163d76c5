import type { ReadStream } from "node:tty";
import { ConfigError } from "../core/errors.ts";
import { Secret } from "../core/secret.ts";

const INTERRUPT = 0x03;
const END_OF_INPUT = 0x04;
const ERASE_LINE = 0x15;
const ERASE: ReadonlySet<number> = new Set([0x08, 0x7f]);
const ENTER: ReadonlySet<number> = new Set([0x0a, 0x0d]);

/** Most bytes of a line typed at a prompt. */
const MAX_LINE_BYTES = 1024;

/** What was typed so far; takes bytes as a terminal in raw mode gives them. */
export class HiddenLine {
  readonly #bytes = Buffer.from(new ArrayBuffer(MAX_LINE_BYTES));
  #length = 0;

  /** Takes typed bytes and overwrites them; tells what to do next. */
  type(typed: Buffer): "more" | "done" | "interrupt" {
    try {
      for (const byte of typed) {
        if (byte === INTERRUPT) return "interrupt";
        if (byte === END_OF_INPUT || ENTER.has(byte)) return "done";
        if (ERASE.has(byte)) this.#erase();
        else if (byte === ERASE_LINE) this.#length = 0;
        else if (this.#length < MAX_LINE_BYTES) this.#bytes[this.#length++] = byte;
      }
      return "more";
    } finally {
      typed.fill(0);
    }
  }

  /** The line as a secret; nothing of it is left here. */
  take(): Secret {
    const secret = Secret.take(Buffer.from(this.#bytes.subarray(0, this.#length)));
    this.#bytes.fill(0);
    this.#length = 0;
    return secret;
  }

  /** One character of UTF-8: continuation bytes, then what they follow. */
  #erase(): void {
    while (this.#length > 0) {
      this.#length -= 1;
      if (((this.#bytes[this.#length] ?? 0) & 0xc0) !== 0x80) return;
    }
  }
}

/**
 * Reads one line from a terminal with nothing shown; `ask` prints the question, once the terminal echoes no more. Whatever
 * happens the terminal is as before. Ctrl-C acts as usual.
 */
export async function readHidden(stdin: ReadStream, signal: AbortSignal, ask: () => void): Promise<Secret> {
  signal.throwIfAborted();
  const line = new HiddenLine();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onData = (typed: Buffer) => {
    const next = line.type(typed);
    if (next === "done") resolve();
    if (next === "interrupt") process.kill(process.pid, "SIGINT");
  };
  const onAbort = () => reject(signal.reason);
  stdin.setRawMode(true);
  stdin.on("data", onData).once("end", resolve);
  signal.addEventListener("abort", onAbort, { once: true });
  stdin.resume();
  try {
    ask();
    await promise;
    return line.take();
  } finally {
    line.take().wipe();
    stdin.setRawMode(false);
    stdin.pause();
    stdin.off("data", onData).off("end", resolve);
    signal.removeEventListener("abort", onAbort);
  }
}

/** All of an input to its end, the exact bytes. Throws ConfigError `input-too-long`. */
export async function readAllSecret(input: AsyncIterable<Buffer>, maxBytes: number): Promise<Secret> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of input) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > maxBytes) throw new ConfigError("input-too-long", `cannot read more than ${maxBytes} bytes`);
    }
    return Secret.take(Buffer.concat(chunks));
  } finally {
    for (const chunk of chunks) chunk.fill(0);
  }
}
