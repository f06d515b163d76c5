import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { basename, dirname, join } from "node:path";
import { errorMessage } from "../src/core/errors.ts";
import { command } from "./command.ts";
import { withLock } from "./lock.ts";
import { cacheDirectory, nodeBinary } from "./place.ts";
import { makeScratch } from "./scratch.ts";

const SCRIPT = join(import.meta.dirname, "guest/kernel-check.sh");
const DEADLINE_MS = 90_000;
const PASSED = "passed";

/** What there is to check: the program with its parameters, and the directory with its modules. */
export interface CheckedKernel {
  readonly argv: readonly [string, ...string[]];
  readonly modules: string;
}

/**
 * Why the kernel cannot be used on this machine; undefined when it can: it was booted, Node ran in it twice, fifty processes
 * were started, an encrypted device was written, closed, opened and read back. Two seconds; the verdict is kept for this
 * kernel, this CPU and this boot of the machine.
 */
export async function kernelTrouble(kernel: CheckedKernel): Promise<string | undefined> {
  const verdicts = join(cacheDirectory(), "kernel-verdicts");
  mkdirSync(verdicts, { recursive: true });
  const path = join(verdicts, subjectOf(kernel));
  const known = () => (existsSync(path) ? readFileSync(path, "utf8") : undefined);
  const verdict =
    known() ??
    (await withLock(join(verdicts, "lock"), async () => {
      const said = known() ?? (await verdictOn(kernel));
      writeFileSync(`${path}.new`, said);
      renameSync(`${path}.new`, path);
      return said;
    }));
  return verdict === PASSED ? undefined : verdict;
}

/** One word for all that the verdict depends on. */
function subjectOf({ argv, modules }: CheckedKernel): string {
  const cpu = /^processor\b[^]*?\n\n/mu.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[0] ?? "";
  const steady = cpu.replaceAll(/^(?:cpu MHz|bogomips|apicid|core id|processor)\b.*\n/gmu, "");
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8");
  const parts = [argv, modules, steady, boot, release(), readFileSync(SCRIPT, "utf8"), process.version];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
}

async function verdictOn({ argv, modules }: CheckedKernel): Promise<string> {
  const memory = makeScratch();
  const fixed = ["mem=512M", "rootfstype=hostfs", "rootflags=/", "ro", "con=null", "con0=null,fd:1", "ssl=null"];
  const ours = [`init=${SCRIPT}`, "loglevel=3", `NODE=${nodeBinary()}`, `MODULES=${modules}`];
  try {
    const { stdout } = await command([...argv, ...fixed, ...ours], {
      env: { TMPDIR: memory, HOME: memory },
      timeoutMs: DEADLINE_MS,
      okCodes: Array.from({ length: 256 }, (_, code) => code),
    });
    const said = /kernel-check: (.+)/u.exec(stdout)?.[1]?.trim();
    return said ?? "it ended before its self-test did";
  } catch (error) {
    return errorMessage(error).split("\n")[0] ?? basename(SCRIPT);
  } finally {
    rmSync(dirname(memory), { recursive: true, force: true });
  }
}
