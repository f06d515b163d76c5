import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { createLogger } from "../../../src/core/log.ts";
import { createLink } from "../../../src/minion/link.ts";
import { Receipts } from "../../../src/minion/receipts.ts";
import { FakeConnection } from "../../fakes/fake-connection.ts";

let directory: string;
const stop = new AbortController();
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-receipts-"));
});
afterEach(() => {
  stop.abort();
  rmSync(directory, { recursive: true });
});

test("a receipt that neither the master nor a full disk takes is sent out of memory", async () => {
  const sent: string[] = [];
  const connection = new FakeConnection({
    "lease.receipt": ({ leaseId }) => {
      sent.push(leaseId);
      return {};
    },
  });
  const place = join(directory, "receipts");
  // nothing can be made below it, as on a disk without room
  writeFileSync(place, "");
  const receipts = new Receipts({
    directory: place,
    link: createLink(connection, systemClock, () => 0),
    identity: generateIdentity(),
    clock: systemClock,
    log: createLogger("test", "silent"),
    signal: stop.signal,
  });
  await receipts.keep({ leaseId: "0-00", outcome: "used", wiped: true, tookMs: 1 }, new Error("busy"));
  await expect.poll(() => sent).toEqual(["0-00"]);
});
