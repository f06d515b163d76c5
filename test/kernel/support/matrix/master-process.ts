/**
 * A master that tests may kill. Started as a process of its own by `Fleet`. Arguments: the configuration, and the file that
 * says at which of its own points it dies.
 */
import { startMaster } from "../../../../src/master/daemon.ts";
import { takeDoom } from "./doom.ts";

const [configPath, doomPath = ""] = process.argv.slice(2);
const ends = new AbortController();
process.once("SIGTERM", () => ends.abort());

function reached(point: string): void {
  if (takeDoom(doomPath, point) !== undefined) process.kill(process.pid, "SIGKILL");
}

void startMaster({ configPath, signal: ends.signal, overrides: { reached } });
