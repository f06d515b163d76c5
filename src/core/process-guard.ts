import { writeFileSync } from "node:fs";
import { ConfigError } from "./errors.ts";

/**
 * Leaves no memory of this process, and of what it starts, in core dumps, also in those that go to a program. Best
 * effort: what is in force tells /proc/self/coredump_filter (core(5)).
 */
export function leaveNothingInCoreDumps(): void {
  try {
    writeFileSync("/proc/self/coredump_filter", "0");
  } catch {
    // a kernel without core dumps has no such file
  }
}

const NOGROUP = 65_534;

/**
 * Makes this process one that nobody may trace, read the memory of, or dump, save those with CAP_SYS_PTRACE. Node has no
 * prctl, but a change of the effective group sets the same attribute (prctl(2), PR_SET_DUMPABLE: it then becomes what
 * /proc/sys/fs/suid_dumpable says, 0 by default), so the group changes to another and back. False where that is not
 * allowed (not root); programs that are started later are not affected.
 */
export function refuseTracers(): boolean {
  const own = process.getegid?.();
  if (own === undefined || process.setegid === undefined) return false;
  try {
    process.setegid(own === NOGROUP ? 1 : NOGROUP);
  } catch {
    // without CAP_SETGID things stay as they are
    return false;
  }
  process.setegid(own);
  return true;
}

/** Whether these words for Node (its flags, or NODE_OPTIONS) open a debugger, which gives code in this process to who connects. */
export function opensDebugger(words: readonly string[]): boolean {
  return words.some((word) => /^--inspect(?:[-_](?:brk|wait))?(?:=|$)/u.test(word.replaceAll("_", "-")));
}

/**
 * Every latchkey process may hold keys: nothing of it goes into core dumps, nobody traces it, and none begins with a
 * debugger open. Throws ConfigError `debugger-open`.
 */
export function guardProcess(
  execArgv: readonly string[] = process.execArgv,
  nodeOptions: string = process.env["NODE_OPTIONS"] ?? "",
): void {
  if (opensDebugger([...execArgv, ...nodeOptions.split(/[\s"]+/u)])) {
    throw new ConfigError("debugger-open", "cannot start: Node was told to open a debugger (--inspect)", {
      hint: "who connects to it runs code here: take it out of NODE_OPTIONS and of the command that starts latchkey",
    });
  }
  leaveNothingInCoreDumps();
  refuseTracers();
}
