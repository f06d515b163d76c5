import { startupSnapshot } from "node:v8";
import { plainMinion } from "./cli/plain-minion.ts";
import { endOnSignals } from "./main-ending.ts";
import { guardOrRefuse } from "./main-guard.ts";
import { runMinion } from "./main-minion.ts";
import { rehearse } from "./minion/rehearse.ts";

async function begin(): Promise<number> {
  const ending = endOnSignals();
  const refused = guardOrRefuse();
  if (refused !== undefined) return refused;
  const minion = plainMinion(process.argv.slice(2));
  if (minion) return runMinion(minion, ending);
  console.error("error: this start is for: latchkey minion [--config FILE]");
  return 2;
}

/**
 * What `node --build-snapshot` runs: everything a minion needs is loaded and has run once, and Node writes its memory down
 * (https://nodejs.org/api/cli.html#--build-snapshot). A process that begins with that memory goes on below.
 */
startupSnapshot.setDeserializeMainFunction(async () => {
  process.exitCode = await begin();
});

void rehearse();
