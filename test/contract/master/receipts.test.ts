import { randomBytes } from "node:crypto";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AuditRecord } from "../../../src/core/audit/chain.ts";
import { systemClock } from "../../../src/core/clock.ts";
import type { LeaseList } from "../../../src/core/control-api.ts";
import { generateDhKey } from "../../../src/core/crypto/x25519.ts";
import { AuthError } from "../../../src/core/errors.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import type { LeasePurpose } from "../../../src/core/lease-purpose.ts";
import { createLogger } from "../../../src/core/log.ts";
import { SqliteStore } from "../../../src/master/store/sqlite.ts";
import type { Change, WriteResult } from "../../../src/master/store/store.ts";
import { createLeases } from "../../../src/minion/lease.ts";
import { createLink } from "../../../src/minion/link.ts";
import { Receipts } from "../../../src/minion/receipts.ts";
import { signLease, signReceipt } from "../../../src/wire/lease-signature.ts";
import { FakeHost } from "../../fakes/fake-host.ts";
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
  const host = new FakeHost()
    .file("/dev/dm-0", "", { kind: "block", rdev: "254:0" })
    .file("/dev/dm-1", "", { kind: "block", rdev: "254:1" })
    .link("/dev/vg0/data", "/dev/dm-0")
    .link("/dev/mapper/data", "/dev/dm-1")
    .link("/sys/dev/block/254:0", "/sys/class/block/dm-0")
    .link("/sys/dev/block/254:1", "/sys/class/block/dm-1")
    .directory("/sys/class/block/dm-0")
    .directory("/sys/class/block/dm-1/slaves/dm-0");
  const leases = createLeases({
    host,
    link,
    identity,
    bootId: "b",
    clock: systemClock,
    log,
    random: () => 0.5,
    waitMs: 15_000,
    signal: stop.signal,
    onWait: () => {},
    onLostReceipt: async (receipt, error) => receipts.keep(receipt, error),
  });
  await leases.lease("secret:disk:password", "open", { device: "/dev/vg0/data" }, async () => {
    failing = true;
  });
  leases.mounted("/dev/mapper/data");
  await leases.settle();
  expect(readdirSync(kept)).toHaveLength(2);
  writeFileSync(join(kept, "0-00.json"), '{"leaseId":"0-');
  writeFileSync(join(kept, "0-01.json"), JSON.stringify({ leaseId: "0-01", outcome: "used", wiped: true, tookMs: 1 }));

  failing = false;
  // the minion starts again: what is torn, and what belongs to no lease, is dropped
  new Receipts(options).deliver();
  await expect.poll(() => readdirSync(kept), WAIT).toEqual([]);
  const records: AuditRecord[] = [];
  for await (const record of one.client.stream<AuditRecord>("GET", "/v1/audit?kind=receipt")) records.push(record);
  const data = { wiped: true, path: "disk:password", signature: expect.stringMatching(/^[0-9a-f]{128}$/u) as string };
  expect(records).toMatchObject([
    { subject: "web1", data: { ...data, outcome: "opened" } },
    { subject: "web1", data: { ...data, outcome: "mounted" } },
  ]);

  // the next lease finds the master at work: both come at once, and are in the list
  await leases.lease("secret:disk:password", "open", { device: "/dev/vg0/data" }, async () => {});
  leases.mounted("/dev/mapper/data");
  await leases.settle();
  expect(readdirSync(kept)).toEqual([]);
  const list = (await one.client.request<LeaseList>("GET", "/v1/leases?limit=1")).leases;
  expect(list).toMatchObject([
    { receipt: { outcome: "opened", wiped: true }, mounted: { outcome: "mounted", wiped: true } },
  ]);
  const [lease] = list;
  const [used, mounted] = [lease?.["receipt"] as JsonObject, lease?.["mounted"] as JsonObject];
  expect(mounted["tookMs"]).toBeGreaterThanOrEqual(Number(used["tookMs"]));
}, 60_000);

test("the master takes no mount for a lease that mounts nothing, nor one that another minion signed", async () => {
  const one = await rig(directory, { openPillar: async () => tinyPillar(key) }, { auto_accept: true });
  ending.push(async () => one.stop());
  const connect = async (id: string) => {
    const minion = startMinion(portsOf(one), { id, fingerprints: [one.master.fingerprint] });
    ending.push(async () => minion.connection.close());
    await minion.connection.ready(AbortSignal.timeout(30_000));
    return minion;
  };
  const [web1, web2] = [await connect("web1"), await connect("web2")];
  const { connection, identity } = web1;
  const lease = async (purpose: LeasePurpose): Promise<string> => {
    const unsigned = { path: "disk:password", purpose, version: 0, device: "", luksUuid: "" };
    const ephemeral = generateDhKey().publicKey;
    const body = signLease(
      { ...unsigned, layout: "", reencrypts: false, bootId: "b", ephemeral },
      identity,
      connection.handshakeHash,
    );
    const answer = await connection.request("lease", body);
    return answer.verdict === "allow" ? answer.leaseId : answer.verdict;
  };
  const say = async (leaseId: string, by = web1, signer = by) => {
    const receipt = { leaseId, outcome: "mounted" as const, wiped: true, tookMs: 1 };
    const signed = signReceipt(receipt, signer.identity, by.connection.handshakeHash);
    return by.connection.request("lease.receipt", signed);
  };
  const opened = await lease("open");
  await expect(say(await lease("check"))).rejects.toBeInstanceOf(AuthError);
  await expect(say(opened, web2)).rejects.toBeInstanceOf(AuthError);
  await expect(say(opened, web1, web2)).rejects.toBeInstanceOf(AuthError);
  expect(await say(opened)).toEqual({});
  const { leases } = await one.client.request<LeaseList>("GET", "/v1/leases?limit=10");
  expect(leases).toMatchObject([
    { purpose: "check", mounted: null },
    { purpose: "open", mounted: { tookMs: 1 } },
  ]);
}, 60_000);
