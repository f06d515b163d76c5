import { reportError } from "./cli/report-error.ts";
import { processTerminal } from "./cli/terminal.ts";
import { guardProcess } from "./core/process-guard.ts";

/** Guards this process's memory; the exit status where it must not begin, said on standard error. Called once a process. */
export function guardOrRefuse(): number | undefined {
  // the compile cache is for this program, not for what it starts
  delete process.env["NODE_COMPILE_CACHE"];
  try {
    guardProcess();
    return undefined;
  } catch (error) {
    return reportError(error, processTerminal());
  }
}
