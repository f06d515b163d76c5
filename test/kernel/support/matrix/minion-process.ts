/**
 * A minion that dies, or ends its master, at a step of a volume operation. Started as a process of its own by `Fleet`.
 * Arguments: the configuration, the file that says who dies at which step, and the file to which every step reached is added.
 */
import { appendFileSync } from "node:fs";
import { startMinion } from "../../../../src/minion/agent.ts";
import { holdUntilLetGo, takeDoom } from "./doom.ts";

const [configPath, doomPath = "", stepsPath = ""] = process.argv.slice(2);
const ends = new AbortController();
process.once("SIGTERM", () => ends.abort());

function reached(step: string): void {
  appendFileSync(stepsPath, `${step}\n`);
  const doom = takeDoom(doomPath, step);
  if (doom === undefined) return;
  if (doom.victim === "minion") process.kill(process.pid, "SIGKILL");
  if (doom.victim === "master") process.kill(doom.masterPid, "SIGKILL");
  // a minion that outlives its master goes on from this very step; with its host it never does
  holdUntilLetGo(doomPath);
}

void startMinion({ configPath, signal: ends.signal, reached });
