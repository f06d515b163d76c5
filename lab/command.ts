import { execFile, type ExecFileOptionsWithBufferEncoding } from "node:child_process";
import { HostError } from "../src/core/errors.ts";

export interface CommandOptions {
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Exit codes that count as success; default `[0]`. */
  readonly okCodes?: readonly number[];
  readonly input?: string;
}

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program of this machine to its end. Throws HostError with the last of its output when it fails. */
export function command(argv: readonly [string, ...string[]], options: CommandOptions = {}): Promise<CommandResult> {
  const { timeoutMs = 120_000, okCodes = [0], input } = options;
  const [file, ...args] = argv;
  const settings: ExecFileOptionsWithBufferEncoding = {
    encoding: "buffer",
    timeout: timeoutMs,
    killSignal: "SIGKILL",
    maxBuffer: 64 << 20,
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  };
  return new Promise((resolve, reject) => {
    const child = execFile(file, args, settings, (error, stdout, stderr) => {
      const result = { exitCode: child.exitCode ?? -1, stdout: stdout.toString(), stderr: stderr.toString() };
      if (child.exitCode !== null && okCodes.includes(child.exitCode)) {
        resolve(result);
        return;
      }
      const why =
        error?.code === "ENOENT" ? "no such program" : `exit ${child.exitCode ?? child.signalCode ?? "unknown"}`;
      const said = (result.stderr || result.stdout).trim().split("\n").slice(-5).join("\n");
      reject(
        new HostError("command-failed", `cannot run "${argv.join(" ")}": ${why}${said ? `\n${said}` : ""}`, {
          cause: error,
        }),
      );
    });
    // a program may well end without reading what it was given
    child.stdin?.on("error", () => undefined).end(input ?? "");
  });
}
