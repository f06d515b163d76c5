import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";
import { runProgram } from "../../src/cli/program.ts";
import type { Rooms } from "../../src/cli/rooms.ts";
import { Secret } from "../../src/core/secret.ts";
import { type Terminal, wantsColour } from "../../src/cli/terminal.ts";

const MAIN = resolve(import.meta.dirname, "../../src/main.ts");

/** What a command did, as an operator sees it. */
export interface Transcript {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number;
}

export interface RunSetup {
  readonly socket?: string;
  readonly rooms?: Partial<Rooms>;
  readonly env?: Readonly<Record<string, string>>;
  /** Answers to questions, in order; with them input and output are a terminal. */
  readonly answers?: readonly string[];
  readonly isTerminal?: boolean;
  /** What standard input holds. */
  readonly input?: string | Buffer;
  readonly signal?: AbortSignal;
}

const noRoom = (): Promise<never> => Promise.reject(new Error("not part of this test"));

/** Runs a command line in this process, its streams recorded. */
export async function runCli(argv: readonly string[], setup: RunSetup = {}): Promise<Transcript> {
  const { socket, rooms = {}, answers = [], signal = new AbortController().signal } = setup;
  const env = { ...(socket === undefined ? {} : { LATCHKEY_SOCKET: socket }), ...setup.env };
  const isTerminal = setup.isTerminal ?? answers.length > 0;
  const pending = [...answers];
  let stdout = "";
  let stderr = "";
  const terminal: Terminal = {
    print: (text) => (stdout += text),
    warn: (text) => (stderr += text),
    ask: async (question) => {
      stderr += question;
      return pending.shift() ?? "";
    },
    askHidden: async (question) => {
      stderr += question;
      return Secret.take(Buffer.from(pending.shift() ?? ""));
    },
    readAll: async () => Secret.take(Buffer.from(setup.input ?? "")),
    printBytes: (bytes) => (stdout += Buffer.from(bytes).toString("latin1")),
    outIsTerminal: isTerminal,
    errIsTerminal: isTerminal,
    interactive: isTerminal,
    columns: () => 100,
    colour: wantsColour(env, isTerminal),
    env,
  };
  const status = await runProgram(argv, {
    version: "1.2.3",
    terminal,
    signal,
    rooms: {
      master: noRoom,
      identity: noRoom,
      minion: noRoom,
      call: noRoom,
      verifyAuditStore: noRoom,
      testPolicy: noRoom,
      ...rooms,
    },
  });
  return { stdout, stderr, status };
}

/** Starts a command line as a process of its own, in a process group of its own. */
export function spawnCli(argv: readonly string[], env: Readonly<Record<string, string>>): ChildProcess {
  return spawn(process.execPath, ["--disable-warning=ExperimentalWarning", MAIN, ...argv], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** The transcript of a started process, once it has ended; a signal counts as 128 and its number, as in a shell. */
export async function transcriptOf(child: ChildProcess): Promise<Transcript> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
  const status = await new Promise<number>((done) => {
    child.once("close", (code, signal) => done(code ?? (signal === "SIGPIPE" ? 141 : 137)));
  });
  return { stdout, stderr, status };
}
