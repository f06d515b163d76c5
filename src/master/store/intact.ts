import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { errorMessage, HostError } from "../../core/errors.ts";

/** As text, since it runs from the bundle too, where there is no file of its own. */
const CHECK = `
const { DatabaseSync } = require("node:sqlite");
const { parentPort, workerData } = require("node:worker_threads");
const db = new DatabaseSync(workerData);
// one file from now on, without a log beside it
db.exec("pragma journal_mode = delete");
const found = db.prepare("pragma integrity_check(1)").all().map((row) => row.integrity_check);
db.close();
parentPort.postMessage(found.join());
`;

/**
 * Reads a whole SQLite file and proves that nothing in it is damaged, on another thread: with headers in escrow it may be
 * large, and leases do not wait for it. Throws HostError `backup-failed`.
 */
export async function assertIntact(file: string): Promise<void> {
  let found: unknown;
  try {
    [found] = (await once(new Worker(CHECK, { eval: true, workerData: file }), "message")) as readonly unknown[];
  } catch (error) {
    found = errorMessage(error);
  }
  if (found === "ok") return;
  throw new HostError("backup-failed", `cannot rely on the copy of the store: ${String(found)}`);
}
