/**
 * A minion that is killed at one step of what it does to a volume; started as a process of its own. Arguments: its
 * configuration, the step ("none" for one that lives).
 */
import { startMinion } from "../../../src/minion/agent.ts";

const [configPath = "", at = ""] = process.argv.slice(2);

await startMinion({
  configPath,
  signal: new AbortController().signal,
  reached: (step) => {
    if (step === at) process.kill(process.pid, "SIGKILL");
  },
});
