import { plainMinion } from "./cli/plain-minion.ts";
import { endOnSignals } from "./main-ending.ts";
import { guardOrRefuse } from "./main-guard.ts";

const ending = endOnSignals();
const refused = guardOrRefuse();

const args = process.argv.slice(2);
const minion = plainMinion(args);
// a minion that boots a machine loads what it needs, from one file
process.exitCode =
  refused ??
  (minion
    ? await (await import("./main-minion.ts")).runMinion(minion, ending)
    : await (await import("./main-cli.ts")).runCli(args, ending));
