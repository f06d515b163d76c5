import { plainMinion } from "./cli/plain-minion.ts";
import { endOnSignals } from "./main-ending.ts";

const ending = endOnSignals();
// the compile cache is for this program, not for what it starts
delete process.env["NODE_COMPILE_CACHE"];

const args = process.argv.slice(2);
const minion = plainMinion(args);
// a minion that boots a machine loads what it needs, from one file
process.exitCode = minion
  ? await (await import("./main-minion.ts")).runMinion(minion, ending)
  : await (await import("./main-cli.ts")).runCli(args, ending);
