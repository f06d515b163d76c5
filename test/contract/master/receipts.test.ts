import { randomBytes } from "node:crypto";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AuditRecord } from "../../../src/core/audit/chain.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { createLogger } from "../../../src/core/log.ts";
import { SqliteStore } from "../../../src/master/store/sqlite.ts";
import type { Change, WriteResult } from "../../../src/master/store/store.ts";
import { createLeases } from "../../../src/minion/lease.ts";
import { createLink } from "../../../src/minion/link.ts";
import { Receipts } from "../../../src/minion/receipts.ts";
import { startMinion } from "../wire/pair.ts";
import { portsOf, rig, scratch, tinyPillar } from "./rig.ts";

const WAIT = { timeout: 30_000, interval: 50 };
const key = randomBytes(32);
const log = createLogger("test", "silent");
let directory: string;
let remove: () => void;
let ending: (() => Promise<unknown>)[];

beforeEach(() => {
  ({ directory, remove } = scratch());
  ending = [];
});
afterEach(async () => {
  for (const end of ending.toReversed()) await end();
  remove();
});

test("I8: a receipt that the master's full disk would not take is on the minion's until it does, and audited then", async () => {
  let failing = false;
  class FailingStore extends SqliteStore {
    override async write(changes: readonly Change[]): Promise<WriteResult> {
      if (failing) throw new Error("disk full");
      return super.write(changes);
    }
  }
  const overrides = {
    openStore: (path: string) => new FailingStore(path),
    openPillar: async () => tinyPillar(key),
  };
  const one = await rig(directory, overrides, { auto_accept: true });
  ending.push(async () => one.stop());
  const { connection, identity } = startMinion(portsOf(one), { id: "web1", fingerprints: [one.master.fingerprint] });
  ending.push(async () => connection.close());
  await connection.ready(AbortSignal.timeout(30_000));
  const stop = new AbortController();
  ending.push(async () => stop.abort());
  const link = createLink(connection, systemClock, () => 0.5);
  const kept = join(directory, "receipts");
  const options = { directory: kept, link, identity, clock: systemClock, log, signal: stop.signal };
  const receipts = new Receipts(options);
  const leases = createLeases({
    link,
    identity,
    bootId: "b",
    clock: systemClock,
    random: () => 0.5,
    waitMs: 15_000,
    signal: stop.signal,
    onWait: () => {},
    onLostReceipt: async (receipt, error) => receipts.keep(receipt, error),
  });
  await leases.lease("secret:disk:password", "open", { device: "/dev/vg0/data" }, async () => {
    failing = true;
  });
  await leases.settle();
  expect(readdirSync(kept)).toHaveLength(1);
  writeFileSync(join(kept, "0-00.json"), '{"leaseId":"0-');
  writeFileSync(join(kept, "0-01.json"), JSON.stringify({ leaseId: "0-01", outcome: "used", wiped: true, tookMs: 1 }));

  failing = false;
  // the minion starts again: what is torn, and what belongs to no lease, is dropped
  new Receipts(options).deliver();
  await expect.poll(() => readdirSync(kept), WAIT).toEqual([]);
  const records: AuditRecord[] = [];
  for await (const record of one.client.stream<AuditRecord>("GET", "/v1/audit?kind=receipt")) records.push(record);
  expect(records).toMatchObject([{ subject: "web1", data: { outcome: "opened", wiped: true, path: "disk:password" } }]);
}, 60_000);
