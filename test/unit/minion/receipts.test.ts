import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";
import { ProtocolError } from "../../../src/core/errors.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { createLogger } from "../../../src/core/log.ts";
import { createLink } from "../../../src/minion/link.ts";
import { type LeaseReceipt, Receipts } from "../../../src/minion/receipts.ts";
import { FakeConnection } from "../../fakes/fake-connection.ts";

let directory: string;
let stop: AbortController;
beforeEach(() => {
  stop = new AbortController();
  directory = mkdtempSync(join(tmpdir(), "latchkey-receipts-"));
});
afterEach(() => {
  stop.abort();
  rmSync(directory, { recursive: true });
});

/** The receipts in this directory, and a master that answers as told. */
function receiptsIn(place: string, connection: FakeConnection): Receipts {
  return new Receipts({
    directory: place,
    link: createLink(connection, systemClock, () => 0),
    identity: generateIdentity(),
    clock: systemClock,
    log: createLogger("test", "silent"),
    signal: stop.signal,
  });
}

const receiptOf = (leaseId: string, outcome: LeaseReceipt["outcome"]): LeaseReceipt => ({
  leaseId,
  outcome,
  wiped: true,
  tookMs: 1,
});

/** A master that keeps the order in which receipts come. */
function listening() {
  const sent: string[] = [];
  const connection = new FakeConnection({
    "lease.receipt": ({ leaseId, outcome }) => {
      sent.push(`${leaseId} ${outcome}`);
      return {};
    },
  });
  return { sent, connection };
}

test("a receipt that neither the master nor a full disk takes is sent out of memory", async () => {
  const { sent, connection } = listening();
  const place = join(directory, "receipts");
  // nothing can be made below it, as on a disk without room
  writeFileSync(place, "");
  const receipts = receiptsIn(place, connection);
  await receipts.keep(receiptOf("0-00", "used"), new Error("busy"));
  await expect.poll(() => sent).toEqual(["0-00 used"]);
});

test("both receipts of a lease are kept, side by side, on disk as in memory, and the first is sent first", async () => {
  const gone = listening().connection;
  gone.drop();
  const receipts = receiptsIn(directory, gone);
  for (const [leaseId, outcome] of [
    ["1-0b", "mounted"],
    ["1-0b", "opened"],
    ["1-0a", "formatted"],
    ["1-0a", "mounted"],
  ] as const) {
    await receipts.keep(receiptOf(leaseId, outcome), new Error("busy"));
  }
  expect(readdirSync(directory).sort()).toEqual(["1-0a.json", "1-0a.mounted.json", "1-0b.json", "1-0b.mounted.json"]);
  // the minion starts again
  const { sent, connection } = listening();
  receiptsIn(directory, connection).deliver();
  await expect.poll(() => readdirSync(directory)).toEqual([]);
  expect(sent).toEqual(["1-0a formatted", "1-0a mounted", "1-0b opened", "1-0b mounted"]);
});

test.each(["on disk", "in memory"])(
  "a receipt kept %s while the one before is on its way goes out behind it, without a new session",
  async (where) => {
    const { sent, connection } = listening();
    connection.drop();
    const place = join(directory, "receipts");
    if (where === "in memory") writeFileSync(place, "");
    const receipts = receiptsIn(place, connection);
    for (const outcome of ["opened", "mounted"] as const)
      await receipts.keep(receiptOf("2-00", outcome), new Error("busy"));
    connection.restore();
    await expect.poll(() => sent).toEqual(["2-00 opened", "2-00 mounted"]);
  },
);

test("a receipt that says mounted waits on disk while the first of its lease is not taken; others do not", async () => {
  const { sent, connection } = listening();
  const take = connection.answers["lease.receipt"];
  connection.answers["lease.receipt"] = (body) => {
    if (body.outcome === "opened") throw new ProtocolError("handler-failed", "disk full");
    return take?.(body) ?? {};
  };
  // as an earlier version wrote it, and as this one does
  writeFileSync(join(directory, "1-00.json"), JSON.stringify(receiptOf("1-00", "opened")));
  writeFileSync(join(directory, "1-00.mounted.json"), JSON.stringify(receiptOf("1-00", "mounted")));
  writeFileSync(join(directory, "1-01.mounted.json"), JSON.stringify(receiptOf("1-01", "mounted")));
  writeFileSync(join(directory, "1-02.other.json"), "{}");
  receiptsIn(directory, connection).deliver();
  await expect.poll(() => sent).toEqual(["1-01 mounted"]);
  await expect.poll(() => readdirSync(directory).sort()).toEqual(["1-00.json", "1-00.mounted.json", "1-02.other.json"]);
});
