import type { MinionStart } from "./cli/plain-minion.ts";
import { reportError } from "./cli/report-error.ts";
import { processTerminal } from "./cli/terminal.ts";
import { startMinion } from "./minion/agent.ts";

/** Runs this machine's minion, and nothing of the command line is loaded; resolves with the exit status. */
export async function runMinion({ configPath }: MinionStart, signal: AbortSignal): Promise<number> {
  try {
    await startMinion({ configPath, signal });
    return 0;
  } catch (error) {
    return reportError(error, processTerminal());
  }
}
