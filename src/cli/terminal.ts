import type { Secret } from "../core/secret.ts";

/** What commands read from and print to; tests bring their own. */
export interface Terminal {
  /** Writes to standard output, as is: the caller has sanitised it. */
  print(text: string): void;
  /** Writes to standard error, as is. */
  warn(text: string): void;
  /** Asks on the terminal and returns the answer, trimmed; "" at the end of input. */
  ask(question: string, signal: AbortSignal): Promise<string>;
  /** Asks for something that is not shown while it is typed; the caller wipes it. Only where `interactive`. */
  askHidden(question: string, signal: AbortSignal): Promise<Secret>;
  /** Standard input to its end, the exact bytes; the caller wipes them. */
  readAll(maxBytes: number): Promise<Secret>;
  /** Writes bytes to standard output, as they are. */
  printBytes(bytes: Uint8Array): void;
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  /** Whether questions can be asked: input and error output are both a terminal. */
  readonly interactive: boolean;
  /** Width of the terminal in columns, 80 when unknown. */
  columns(): number;
  /** Whether standard output gets colours. */
  readonly colour: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** NO_COLOR (https://no-color.org) wins over FORCE_COLOR, and both over what the stream is. */
export function wantsColour(env: Terminal["env"], isTerminal: boolean): boolean {
  if (env["NO_COLOR"]) return false;
  if (env["FORCE_COLOR"]) return env["FORCE_COLOR"] !== "0";
  return isTerminal && env["TERM"] !== "dumb";
}

/** The process's own streams. */
export function processTerminal(): Terminal {
  const { stdin, stdout, stderr, env } = process;
  // a reader that went away (`latchkey status | head -1`) is no error of ours: end as SIGPIPE would
  const onError = (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 141 : 3);
  stdout.on("error", onError);
  stderr.on("error", onError);
  return {
    print: (text) => void stdout.write(text),
    warn: (text) => void stderr.write(text),
    ask: async (question, signal) => {
      const { createInterface } = await import("node:readline");
      const lines = createInterface({ input: stdin, output: stderr, terminal: false });
      try {
        stderr.write(question);
        return await new Promise<string>((resolve, reject) => {
          lines.once("line", (line) => resolve(line.trim()));
          lines.once("close", () => resolve(""));
          signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        });
      } finally {
        lines.close();
      }
    },
    askHidden: async (question, signal) => {
      const { readHidden } = await import("./hidden-input.ts");
      try {
        return await readHidden(stdin, signal, () => void stderr.write(question));
      } finally {
        stderr.write("\n");
      }
    },
    readAll: async (maxBytes) => {
      const { readAllSecret } = await import("./hidden-input.ts");
      return readAllSecret(stdin, maxBytes);
    },
    printBytes: (bytes) => void stdout.write(bytes),
    outIsTerminal: stdout.isTTY,
    errIsTerminal: stderr.isTTY,
    interactive: stdin.isTTY && stderr.isTTY,
    columns: () => stderr.columns || 80,
    colour: wantsColour(env, stdout.isTTY),
    env,
  };
}
