import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../../src/core/clock.ts";
import { generateIdentity, type Identity } from "../../../../src/core/identity.ts";
import { AuditLog } from "../../../../src/master/audit/audit-log.ts";
import { type AuditFact, EMPTY_CHAIN } from "../../../../src/core/audit/chain.ts";
import { exportAudit } from "../../../../src/master/audit/export.ts";
import type { Checkpoint } from "../../../../src/core/audit/chain.ts";
import { ChainVerifier, verifyExport } from "../../../../src/core/audit/verify.ts";
import { recordsOf } from "../fakes.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";

const master = generateIdentity();
const stranger = generateIdentity();
const fact = (subject: string): AuditFact => ({
  at: 1_767_787_200_000,
  kind: "lease",
  actor: subject,
  subject,
  from: "192.0.2.1",
  data: { path: "password", verdict: "allow", reasons: ["no-policy"] },
});

const signs = (identity: Identity) => (message: Uint8Array) => identity.sign.sign(message);

let store: MemoryStore;
const open = async () => await AuditLog.open({ store, clock: systemClock, sign: signs(master) });
const exported = async (from: MemoryStore, log: AuditLog) =>
  Array.fromAsync(exportAudit(from, master.public, await log.signNow()), (line) => JSON.stringify(line));
const linesOf = async (log: AuditLog) => exported(store, log);

beforeEach(() => {
  store = new MemoryStore(systemClock);
});

async function filled(count: number): Promise<string[]> {
  const log = await open();
  for (let index = 0; index < count; index += 1) {
    await log.append(fact(`host-${index}`));
    if (index % 3 === 2) await log.signNow();
  }
  const lines = await linesOf(log);
  await log.close();
  return lines;
}

test("what was appended verifies, also over a restart", async () => {
  const first = await open();
  await Promise.all(["a", "b", "c"].map(async (id) => await first.append(fact(id))));
  await first.close();
  const second = await open();
  const record = await second.append(fact("d"));
  expect(record.seq).toBe(4);
  expect(verifyExport(await linesOf(second), master.fingerprint)).toMatchObject({ records: 4, first: 1, faults: [] });
});

test("an empty log exports as one that was cut off, never as a whole one", async () => {
  expect(verifyExport(await linesOf(await open()), master.fingerprint).faults).toHaveLength(1);
});

test("records of one tick share one write, changes of the caller with them", async () => {
  const log = await open();
  const writes: number[] = [];
  store.watch("lease/", ({ revision }) => writes.push(revision));
  await Promise.all(
    ["a", "b", "c"].map(
      async (id) => await log.append(fact(id), [{ op: "put", key: `lease/${id}`, value: Buffer.from("x") }]),
    ),
  );
  expect(writes).toHaveLength(3);
  expect(new Set(writes).size).toBe(1);
});

test("I4: when the store fails nothing is recorded, the caller knows, and the chain tells of it afterwards", async () => {
  const heard: unknown[] = [];
  const onTrouble = (trouble: unknown) => heard.push(trouble);
  const log = await AuditLog.open({ store, clock: systemClock, sign: signs(master), onTrouble });
  await log.append(fact("a"));
  store.fail = "no space left on device";
  await expect(log.append(fact("b"))).rejects.toThrow(expect.objectContaining({ code: "store-failed" }));
  await expect(Promise.all([log.append(fact("b")), log.append(fact("b"))])).rejects.toThrow(/no space left/u);
  expect(log.trouble).toMatchObject({ reason: expect.stringContaining("no space left"), lost: 3 });
  store.fail = undefined;
  expect((await log.append(fact("c"))).seq).toBe(3);
  expect(log.trouble).toBeUndefined();
  expect(heard).toEqual([expect.objectContaining({ lost: 1 }), undefined]);
  const [, gap] = await recordsOf(store);
  expect(gap).toMatchObject({ seq: 2, kind: "audit-failed", data: { lost: 3 } });
  expect(verifyExport(await linesOf(log), master.fingerprint).faults).toEqual([]);
});

test("a log that failed writes again by itself when it can", async () => {
  const log = await open();
  store.fail = "no space left on device";
  await expect(log.append(fact("a"))).rejects.toThrow(/no space left/u);
  store.fail = undefined;
  await expect.poll(() => log.trouble, { timeout: 5000 }).toBeUndefined();
  expect(log.head.seq).toBe(1);
});

test("two records of one tick that change the same key are both kept, in order", async () => {
  const log = await open();
  const also = (text: string) => [{ op: "put" as const, key: "keys/web1", value: Buffer.from(text) }];
  await Promise.all([log.append(fact("a"), also("first")), log.append(fact("b"), also("second"))]);
  expect(log.head.seq).toBe(2);
  expect(Buffer.from((await store.get("keys/web1"))?.value ?? []).toString()).toBe("second");
});

test("two masters on one store: the second writer is refused, the chain stays whole", async () => {
  const one = await open();
  const two = await open();
  await one.append(fact("a"));
  await expect(two.append(fact("b"))).rejects.toThrow(/changed by another/u);
  expect(verifyExport(await linesOf(one), master.fingerprint).faults).toEqual([]);
});

test("a log whose last record is gone does not open", async () => {
  const log = await open();
  await log.append(fact("a"));
  await log.close();
  await store.write([{ op: "delete", key: "audit/record/0000000000000001" }]);
  await expect(open()).rejects.toThrow(expect.objectContaining({ code: "audit-damaged" }));
  await store.write([{ op: "delete", key: "audit/head" }]);
  await expect(open()).rejects.toThrow(/were signed and are gone/u);
});

describe("tampering with an export is found", () => {
  const verify = (lines: readonly string[]) => verifyExport(lines, master.fingerprint).faults;

  test("untouched, it has no fault", async () => expect(verify(await filled(10))).toEqual([]));

  test("a changed record is named", async () => {
    const lines = (await filled(10)).map((line) => line.replace('"actor":"host-4"', '"actor":"host-5"'));
    expect(verify(lines)).toContain("record 5 was changed");
  });

  test("a record whose hash was mended as well is named by what follows it", async () => {
    const lines = await filled(10);
    const otherStore = new MemoryStore(systemClock);
    const other = await AuditLog.open({ store: otherStore, clock: systemClock, sign: signs(stranger) });
    for (let index = 0; index < 10; index += 1) await other.append(fact(index === 4 ? "liar" : `host-${index}`));
    const forged = await exported(otherStore, other);
    const mended = lines.map((line) => {
      const own = JSON.parse(line) as { type: string; record?: { seq: number } };
      return own.type === "record" ? (forged.find((text) => text.includes(`"seq":${own.record?.seq},`)) ?? line) : line;
    });
    expect(verify(mended).join("\n")).toMatch(/does not agree with record|rewritten/u);
    expect(verify(forged).join("\n")).toMatch(/not signed by this master/u);
  });

  test("removed, reordered and cut off lines never pass", async () => {
    const lines = await filled(10);
    const isRecord = (line: string) => line.includes('"type":"record"');
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: lines.length - 1 }),
        fc.integer({ min: 1, max: lines.length - 1 }),
        (a, b) => {
          expect(verify(lines.slice(0, a))).not.toEqual([]);
          const removed = lines.filter((_, index) => index !== a);
          fc.pre(isRecord(lines[a] ?? ""));
          expect(verify(removed)).not.toEqual([]);
          fc.pre(a !== b && isRecord(lines[b] ?? ""));
          const swapped = lines.map((line, index) => (index === a ? lines[b] : index === b ? lines[a] : line) ?? "");
          expect(verify(swapped)).not.toEqual([]);
        },
      ),
    );
  });

  test("another master's export, and lines that are none", async () => {
    const lines = await filled(3);
    expect(verifyExport(lines, stranger.fingerprint).faults).toEqual(["the export is of another master"]);
    expect(verify(["{}", ...lines])).toHaveLength(1);
    expect(verify([...lines, "not json"])).toHaveLength(1);
  });
});

test("an export cut off at its end, and closed with an older signature, is found by what a minion keeps, which is named", async () => {
  const log = await open();
  const kept: (Checkpoint | undefined)[] = [];
  for (const id of ["a", "b", "c", "d"]) {
    await log.append(fact(id));
    kept.push(await log.signNow());
  }
  const lines = await linesOf(log);
  const [early, , , newest] = kept;
  const forged = [...lines.slice(0, 2), JSON.stringify({ type: "end", checkpoint: early })];
  // in itself it is a true export of an earlier day: only somebody else can know better
  expect(verifyExport(forged, master.fingerprint)).toMatchObject({ records: 1, faults: [] });
  const witness = newest && { witness: "web1", checkpoint: newest };
  expect(verifyExport(forged, master.fingerprint, witness ? [witness] : []).faults).toEqual([
    `the checkpoint ${newest?.seq} that web1 keeps is beyond the last record 1: the chain was cut off at the end`,
  ]);
  const plainly = lines.slice(0, -2);
  expect(verifyExport(plainly, master.fingerprint, witness ? [witness] : []).faults).toEqual([
    expect.stringContaining("that web1 keeps is beyond the last record"),
    "the export has no signed end: it was cut off",
  ]);
});

test("an export whose beginning was taken away is found, whatever its first line says", async () => {
  const [first = "", ...lines] = await filled(6);
  const parsed = JSON.parse(lines[1] ?? "") as { record: { seq: number; hash: string } };
  const { seq, hash } = parsed.record;
  const begun = JSON.stringify({ ...(JSON.parse(first) as object), head: { seq, hash } });
  expect(verifyExport([begun, ...lines.slice(2)], master.fingerprint).faults).toEqual([
    `the export begins behind record ${seq}: it was cut off at the beginning`,
  ]);
});

test("a witness shows that the end of the store's own chain was cut off", async () => {
  const log = await open();
  await log.append(fact("a"));
  await log.append(fact("b"));
  const kept = await log.signNow();
  if (!kept) throw new Error("nothing signed");
  const witnesses = [{ witness: "host-1", checkpoint: kept }];
  const verifier = new ChainVerifier(master.public.signKey, EMPTY_CHAIN, witnesses);
  const [first] = await recordsOf(store);
  if (first) verifier.record(first);
  expect(verifier.result().faults).toEqual([
    "the checkpoint 2 that host-1 keeps is beyond the last record 1: the chain was cut off at the end",
  ]);
});

test("a witness shows that the whole chain was made anew by somebody who has the master's key", async () => {
  const honest = await open();
  for (const id of ["a", "b", "c"]) await honest.append(fact(id));
  const kept = await honest.signNow();
  if (!kept) throw new Error("nothing signed");
  store = new MemoryStore(systemClock);
  const forger = await open();
  for (const id of ["a", "b", "liar", "d"]) await forger.append(fact(id));
  const lines = await linesOf(forger);
  expect(verifyExport(lines, master.fingerprint).faults).toEqual([]);
  expect(verifyExport(lines, master.fingerprint, [{ witness: "host-1", checkpoint: kept }]).faults).toEqual([
    "the checkpoint 3 that host-1 keeps does not agree with record 3: the chain was rewritten",
  ]);
  const unsigned = { witness: "host-2", checkpoint: { ...kept, hash: "0".repeat(64) } };
  expect(verifyExport(lines, master.fingerprint, [unsigned]).faults).toEqual([
    "the checkpoint 3 that host-2 keeps is not signed by this master",
  ]);
});
