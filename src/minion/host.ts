import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { isMainThread } from "node:worker_threads";
import type { Options, execa as execaFunction } from "execa";
import { MAX_TIMER_MS } from "../core/clock.ts";
import { procPath } from "../core/descriptor-names.ts";
import { HostError } from "../core/errors.ts";
import { isTrusted } from "../core/exposure.ts";
import { holdPath } from "../core/hold-path.ts";
import { type HeldPath, type Host, type RunOptions, type RunResult, stdinParts } from "../core/host.ts";
import { Secret } from "../core/secret.ts";
import { hostFiles } from "./host-files.ts";
import { commandName, maskArgv } from "./mask-argv.ts";
import { programWords } from "./program-words.ts";

/** The whole environment of a command, before `env`. */
export const COMMAND_ENV: Readonly<Record<string, string>> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LC_ALL: "C",
};

/** What commands get of this process's own environment: dmsetup(8)'s switch for machines on which no udev runs. */
const PASSED_ON = ["DM_DISABLE_UDEV"] as const;

/** Most bytes kept of each output stream. */
export const MAX_OUTPUT_BYTES = 1024 * 1024;

/** Of output that is key material. */
const MAX_SECRET_BYTES = 64 * 1024;

const DEFAULT_TIMEOUT_MS = 120_000;
/** From TERM to KILL. */
const KILL_AFTER_MS = 5000;
const TAIL_BYTES = 8 * 1024;
/** How long output may still come when the command has ended but a process it left behind holds the pipes. */
const DRAIN_MS = 500;
const CHILD_UMASK = 0o022;

/** The real machine: commands through execa, files through node:fs. */
export function createHost(): Host {
  return { ...hostFiles, run: runCommand };
}

interface Output {
  readonly chunks: Buffer[];
  bytes: number;
  truncated: boolean;
  /** The last of what was dropped, where it is wanted. */
  tail: Buffer;
}

function collect(stream: Readable, maxBytes = MAX_OUTPUT_BYTES, tailBytes = 0): Output {
  const output: Output = { chunks: [], bytes: 0, truncated: false, tail: Buffer.alloc(0) };
  stream.on("data", (chunk: Buffer) => {
    const room = maxBytes - output.bytes;
    if (chunk.length > room) output.truncated = true;
    if (tailBytes > 0 && chunk.length > room) {
      const dropped = chunk.subarray(Math.max(room, chunk.length - tailBytes, 0));
      output.tail = Buffer.concat([output.tail, dropped]).subarray(-tailBytes);
    }
    if (room <= 0) return;
    const kept = chunk.length > room ? chunk.subarray(0, room) : chunk;
    output.chunks.push(kept);
    output.bytes += kept.length;
  });
  stream.on("error", () => {
    output.truncated = true;
  });
  return output;
}

/** The output as a secret; what the pipe left in memory is wiped. */
function secretOf({ chunks }: Output): Secret | undefined {
  if (chunks.length === 0) return undefined;
  const secret = Secret.take(Buffer.concat(chunks));
  for (const chunk of chunks) chunk.fill(0);
  return secret;
}

function tailOf({ chunks, tail }: Output): string {
  return Buffer.concat([...chunks.slice(-1), tail])
    .subarray(-TAIL_BYTES)
    .toString("utf8");
}

const textOf = (output: Output): string => Buffer.concat(output.chunks).toString("utf8");

interface Account {
  readonly uid: number;
  readonly gid: number;
}

function findAccount(user: string): Account {
  for (const line of readFileSync("/etc/passwd", "utf8").split("\n")) {
    const [name, , uid, gid] = line.split(":");
    if (name === user) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new HostError("no-such-user", `cannot run as user "${user}": there is no such user`, { facts: { user } });
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // ESRCH: the whole group is gone already
  }
}

function passedOn(): Record<string, string> {
  return Object.fromEntries(
    PASSED_ON.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

const handedOn = ({ descriptors = [] }: RunOptions) => descriptors as readonly unknown[] as readonly "inherit"[];

function spawnOptions(options: RunOptions, directory: HeldPath | undefined) {
  const account = options.user === undefined ? {} : findAccount(options.user);
  return {
    ...account,
    // the child enters it before it gives up its rights and before what is not handed on is closed
    ...(directory?.foundDescriptor === undefined ? {} : { cwd: procPath(directory.foundDescriptor) }),
    env: { ...COMMAND_ENV, ...passedOn(), ...options.env },
    extendEnv: false,
    // execa hands descriptors on like "inherit"; its types have them for the first three alone
    stdio: [options.stdin === undefined ? "ignore" : "pipe", "pipe", "pipe", ...handedOn(options)],
    buffer: false,
    reject: false,
    // a process group of its own, so that a timeout ends all of it
    detached: true,
    cleanup: false,
  } as const satisfies Options;
}

type Execa = typeof execaFunction;
let loadedExeca: Execa | undefined;

async function loadExeca(): Promise<Execa> {
  // loaded at the first command: an idle minion does without
  loadedExeca ??= (await import("execa")).execa;
  return loadedExeca;
}

/** Loads what the first command would otherwise wait for; for a run that is known to come. */
export async function prepareCommands(): Promise<void> {
  await loadExeca();
}

function start(
  execa: Execa,
  argv: readonly [string, ...string[]],
  options: RunOptions,
  directory: HeldPath | undefined,
) {
  const [file, ...args] = argv;
  // Children get the usual umask, whatever the daemon's own is; fork happens inside the call.
  const umask = isMainThread ? process.umask(CHILD_UMASK) : undefined;
  try {
    return execa(file, args, spawnOptions(options, directory));
  } finally {
    if (umask !== undefined) process.umask(umask);
  }
}

/** Starts it in its directory, which needs to be held until then alone. */
function startIn(execa: Execa, argv: readonly [string, ...string[]], options: RunOptions) {
  using directory = holdDirectory(options);
  return start(execa, argv, options, directory);
}

/** Ends the command at its deadline or on abort; `reason` tells which. */
function watchDeadline(
  child: { readonly pid?: number | undefined },
  { timeoutMs = DEFAULT_TIMEOUT_MS, signal }: RunOptions,
) {
  const watch = { reason: undefined as "timeout" | "aborted" | undefined, stop: () => {} };
  let killTimer: NodeJS.Timeout | undefined;
  const end = (reason: "timeout" | "aborted") => {
    if (watch.reason !== undefined || child.pid === undefined) return;
    const { pid } = child;
    watch.reason = reason;
    killGroup(pid, "SIGTERM");
    killTimer = setTimeout(() => killGroup(pid, "SIGKILL"), KILL_AFTER_MS);
  };
  const timer = setTimeout(() => end("timeout"), Math.min(timeoutMs, MAX_TIMER_MS));
  const onAbort = () => end("aborted");
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  watch.stop = () => {
    clearTimeout(timer);
    clearTimeout(killTimer);
    signal?.removeEventListener("abort", onAbort);
    // whoever ignored the TERM in the group does not outlive its command
    if (watch.reason !== undefined && child.pid !== undefined) killGroup(child.pid, "SIGKILL");
  };
  return watch;
}

/** The directory to run in, held open. Throws HostError `no-such-directory`, and as `holdPath` does. */
function holdDirectory({ cwd, user, allowUnsafePath }: RunOptions): HeldPath | undefined {
  if (cwd === undefined) return undefined;
  // what another user may do there they may do anyway: no link is followed for them all the same
  const isOthers = user !== undefined && !isTrusted(findAccount(user).uid, process.geteuid?.() ?? 0);
  const isAllowed = isOthers ? true : allowUnsafePath;
  const held = holdPath(cwd, {
    followLast: true,
    ...(isAllowed === undefined ? {} : { allowUnsafePath: isAllowed }),
  });
  if (held?.found?.kind === "directory") return held;
  held?.[Symbol.dispose]();
  throw new HostError("no-such-directory", `cannot run a command in "${cwd}": it is no directory`, {
    facts: { path: cwd },
  });
}

async function runCommand(argv: readonly [string, ...string[]], options: RunOptions = {}): Promise<RunResult> {
  const { okCodes = [0], stdin, signal } = options;
  const command = maskArgv(argv);
  const facts = { argv: command };
  if (signal?.aborted === true) throw abortedError(command);
  const execa = await loadExeca();
  const startedAt = performance.now();
  const child = startIn(execa, argv, options);
  const [maxBytes, tailBytes] = options.secretStdout === true ? [MAX_SECRET_BYTES, 0] : [MAX_OUTPUT_BYTES, TAIL_BYTES];
  const stdout = child.stdout ? collect(child.stdout, maxBytes, tailBytes) : undefined;
  const stderr = child.stderr ? collect(child.stderr) : undefined;
  const watch = watchDeadline(child, options);
  child.once("exit", () => {
    const drain = setTimeout(() => {
      child.stdout?.destroy();
      child.stderr?.destroy();
    }, DRAIN_MS);
    child.once("close", () => clearTimeout(drain));
  });
  let isTaken = stdin === undefined;
  const taken = () => {
    if (!isTaken) options.stdinTaken?.();
    isTaken = true;
  };
  if (stdin !== undefined && child.stdin) {
    // EPIPE when the command does not read: its exit code tells more
    child.stdin.on("error", () => {});
    for (const part of stdinParts(stdin)) child.stdin.write(part);
    child.stdin.end(taken);
  }
  const ended = await child;
  taken();
  watch.stop();
  const durationMs = performance.now() - startedAt;
  const secret = options.secretStdout === true && stdout ? secretOf(stdout) : undefined;
  const isGood = watch.reason === undefined && okCodes.includes(ended.exitCode ?? -1);
  if (!isGood) secret?.wipe();
  const errors = stderr ? textOf(stderr) : "";
  if (watch.reason === "aborted") throw abortedError(command);
  if (watch.reason === "timeout") {
    const limit = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    throw new HostError("command-timeout", `cannot run "${commandName(command)}": not done after ${limit} ms, ended`, {
      facts: { ...facts, timeoutMs: limit, stderr: programWords(errors) },
    });
  }
  const exitCode = ended.exitCode ?? (ended.signal === undefined ? undefined : 128 + signalNumber(ended.signal));
  if (exitCode === undefined) throw startError(argv[0], ended.code, facts);
  if (!okCodes.includes(exitCode)) {
    const how = ended.signal === undefined ? `exit code ${exitCode}` : `ended by ${ended.signal}`;
    const said = programWords(errors);
    throw new HostError(
      "command-failed",
      `cannot run "${commandName(command)}": ${how}${said === "" ? "" : `, ${said}`}`,
      {
        facts: { ...facts, exitCode, stderr: said },
      },
    );
  }
  return {
    exitCode,
    stdout: stdout && options.secretStdout !== true ? textOf(stdout) : "",
    stderr: errors,
    durationMs,
    truncated: stdout?.truncated === true || stderr?.truncated === true,
    ...(stdout && stdout.tail.length > 0 ? { stdoutTail: tailOf(stdout) } : {}),
    pid: child.pid ?? 0,
    ...(secret === undefined ? {} : { secret }),
  };
}

function abortedError(argv: readonly string[]): HostError {
  return new HostError("command-aborted", `cannot run "${commandName(argv)}": stopped`, { facts: { argv } });
}

function startError(program: string, errno: string | undefined, facts: { readonly argv: readonly string[] }) {
  if (errno === "ENOENT") {
    return new HostError("command-missing", `cannot run "${program}": no such program`, {
      facts,
      hint: `install the package that has ${program}`,
    });
  }
  return new HostError("command-failed", `cannot run "${program}": ${errno ?? "it did not start"}`, { facts });
}

const SIGNALS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
};
const signalNumber = (name: string): number => SIGNALS[name] ?? 0;
