import { execFileSync } from "node:child_process";
import { availableParallelism } from "node:os";

/** How a master and its load share the machine's cores. */
export interface CoreSplit {
  /** For a row's note. */
  readonly how: string;
  /** Lets both use all cores again. */
  undo(): void;
}

/** Gives the master one core to itself and this process, which makes the load, the others, where that can be done. */
export function splitCores(masterPid: number): CoreSplit {
  const cores = availableParallelism();
  const pin = (pid: number, which: string) => {
    execFileSync("taskset", ["-apc", which, String(pid)], { stdio: "ignore" });
  };
  try {
    if (cores < 2) throw new Error("there is one core");
    pin(masterPid, "0");
    pin(process.pid, `1-${cores - 1}`);
  } catch {
    return { how: "the load on the same cores", undo: () => {} };
  }
  return {
    how: "the master on a core of its own",
    undo: () => {
      pin(masterPid, `0-${cores - 1}`);
      pin(process.pid, `0-${cores - 1}`);
    },
  };
}
