import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, realpathSync } from "node:fs";
import { basename, delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { HostError } from "../core/errors.ts";
import type { Terminal } from "./terminal.ts";

/** How long an editor gets to end by itself when we are told to. */
const GRACE_MS = 2000;
const SETTLE_MS = 50;

/** Vim keeps copies elsewhere (swap, undo, backup, registers in viminfo): told not to, after its own configuration. */
const VIM_PRIVATE = ["-n", "-i", "NONE", "-c", "set noundofile nobackup nowritebackup noswapfile"];

function onPath(program: string, path: string): string | undefined {
  const candidates = program.includes("/")
    ? [program]
    : path.split(delimiter).map((directory) => join(directory, program));
  return candidates.find((candidate) => {
    try {
      accessSync(candidate, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * The editor's program and arguments: $VISUAL, $EDITOR, else the first of `editor`, `vi`, `nano` that is there. Split at
 * blanks, never given to a shell. Throws HostError `no-editor`.
 */
export function editorArgv(env: Terminal["env"]): readonly [string, ...string[]] {
  const path = env["PATH"] ?? "/usr/bin:/bin";
  const chosen = env["VISUAL"]?.trim() || env["EDITOR"]?.trim();
  const choices = chosen ? [chosen] : ["editor", "vi", "nano"];
  for (const choice of choices) {
    const [program = "", ...args] = choice.split(/\s+/u);
    const found = onPath(program, path);
    if (found === undefined) continue;
    const isVim = /^(?:n?vim|vim\.\w+)$/u.test(basename(realpathSync(found)));
    return [found, ...(isVim ? VIM_PRIVATE : []), ...args];
  }
  throw new HostError("no-editor", `cannot edit: no such editor as "${choices.join('", "')}"`, {
    hint: "set EDITOR to your editor, such as EDITOR=nano",
  });
}

/**
 * Lets SIGINT pass while the editor runs: a terminal sends it to the editor too, and to what the editor runs, which is who
 * is meant. As git does. Returns how to have it back as it was.
 */
function ignoreInterrupts(): () => void {
  const before = process.listeners("SIGINT");
  const ignore = () => {};
  process.on("SIGINT", ignore);
  for (const listener of before) process.removeListener("SIGINT", listener);
  return () => {
    for (const listener of before) process.on("SIGINT", listener);
    process.removeListener("SIGINT", ignore);
  };
}

/** Ends the editor when `signal` aborts: TERM, and KILL after a grace. Returns how to stop watching. */
function endOnAbort(child: ChildProcess, signal: AbortSignal): () => void {
  let timer: NodeJS.Timeout | undefined;
  const end = () => {
    child.kill("SIGTERM");
    timer = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
  };
  if (signal.aborted) end();
  else signal.addEventListener("abort", end, { once: true });
  return () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  };
}

/**
 * Opens a file in the editor on this terminal and waits until it is closed. Throws HostError `editor-failed` when the
 * editor crashes or says that it failed, and the signal's reason when we were told to end; the editor has ended by then. Ctrl-C is the editor's own business.
 */
export async function openEditor(
  argv: readonly [string, ...string[]],
  file: string,
  signal: AbortSignal,
): Promise<void> {
  const [program, ...args] = argv;
  const hearInterrupts = ignoreInterrupts();
  const child = spawn(program, [...args, file], { stdio: "inherit" });
  const forget = endOnAbort(child, signal);
  const outcome = await new Promise<string | undefined>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, killedBy) => {
      resolve(
        code === 0 ? undefined : killedBy === null ? `it ended with status ${code}` : `it was ended by ${killedBy}`,
      );
    });
  });
  forget();
  // a Ctrl-C of its last moment may come after the news of its end: Node hears of signals on several threads
  await delay(SETTLE_MS);
  hearInterrupts();
  signal.throwIfAborted();
  if (outcome !== undefined) {
    throw new HostError("editor-failed", `cannot edit with "${program}": ${outcome}; nothing was written`, {
      facts: { program },
    });
  }
}
