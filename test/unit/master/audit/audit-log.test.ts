import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../../src/core/clock.ts";
import { generateIdentity, type Identity } from "../../../../src/core/identity.ts";
import { AuditLog } from "../../../../src/master/audit/audit-log.ts";
import { type AuditFact, chainRecord, EMPTY_CHAIN } from "../../../../src/core/audit/chain.ts";
import { CHECKPOINTS, decodeHead, decodeStored, HEAD, recordKey, seqOf } from "../../../../src/master/audit/stored.ts";
import { auditLines, exportAudit } from "../../../../src/master/audit/export.ts";
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

const signs = (identity: Identity) => ({
  sign: (message: Uint8Array) => identity.sign.sign(message),
  signKey: identity.public.signKey,
});

let store: MemoryStore;
const open = async () => await AuditLog.open({ store, clock: systemClock, ...signs(master) });
const exported = async (from: MemoryStore, log: AuditLog) =>
  Array.fromAsync(exportAudit(from, master.public, await log.signEnd()), (line) => JSON.stringify(line));
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
  const log = await AuditLog.open({ store, clock: systemClock, ...signs(master), onTrouble });
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

test("a record with more than the store takes is refused alone, and takes none of its neighbours along", async () => {
  const log = await open();
  const large = { op: "put" as const, key: "large", value: new Uint8Array(16 * 1024 * 1024 + 1) };
  const appended = [
    log.append(fact("a")),
    log.append(fact("b"), [large]),
    log.append(fact("c"), () => {
      throw new Error("cannot say what else to write");
    }),
    log.append(fact("d")),
  ];
  const settled = await Promise.allSettled(appended);
  expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected", "fulfilled"]);
  expect(log.trouble).toBeUndefined();
  await expect(log.append(fact("e"), [large])).rejects.toMatchObject({ code: "store-value-too-large" });
  await log.append(fact("f"));
  const subjects = (await recordsOf(store)).map(({ subject }) => subject);
  expect(subjects).toEqual(["a", "d", "f"]);
  expect(verifyExport(await linesOf(log), master.fingerprint)).toMatchObject({ records: 3, faults: [] });
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
    const other = await AuditLog.open({ store: otherStore, clock: systemClock, ...signs(stranger) });
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

test("an export cut off at a checkpoint is found: a checkpoint is no end, whatever its line is called", async () => {
  const lines = await filled(10);
  const at = lines.findIndex((line) => line.includes('"type":"checkpoint"'));
  const forged = [...lines.slice(0, at), (lines[at] ?? "").replace('"type":"checkpoint"', '"type":"end"')];
  expect(verifyExport(forged, master.fingerprint).faults).toEqual([
    "the end is not signed as such by this master: the export was cut off",
  ]);
  // nor is the end of an export a checkpoint, or the store's own end
  const end = (lines.at(-1) ?? "").replace('"type":"end"', '"type":"checkpoint"');
  expect(verifyExport([...lines.slice(0, -1), end, lines.at(-1) ?? ""], master.fingerprint).faults).toEqual([
    "checkpoint 10 is not signed by this master",
  ]);
});

test("an export of an earlier day says when it was made, and what a minion keeps shows what it lacks", async () => {
  let now = 1_767_787_200_000;
  const log = await AuditLog.open({ store, clock: { ...systemClock, now: () => now }, ...signs(master) });
  await log.append(fact("a"));
  const early = await linesOf(log);
  now += 86_400_000;
  await log.append(fact("b"));
  const newest = await log.signNow();
  expect(verifyExport(early, master.fingerprint)).toMatchObject({ records: 1, faults: [], endedAt: now - 86_400_000 });
  const witnesses = newest ? [{ witness: "web1", checkpoint: newest }] : [];
  expect(verifyExport(early, master.fingerprint, witnesses).faults).toEqual([
    "the checkpoint 2 that web1 keeps is beyond the last record 1: the chain was cut off at the end",
  ]);
  expect(verifyExport((await linesOf(log)).slice(0, -2), master.fingerprint, witnesses).faults).toEqual([
    "the export has no signed end: it was cut off",
  ]);
});

describe("records behind the newest checkpoint of a master that was killed", () => {
  const put = async (key: string, value: object) =>
    store.write([{ op: "put", key, value: Buffer.from(JSON.stringify(value)) }]);
  const storeFaults = async () => {
    const verifier = new ChainVerifier(master.public.signKey);
    for await (const line of auditLines(store)) verifier.take(line);
    const head = await store.get(HEAD);
    verifier.storedHead(head && decodeHead(head));
    return verifier.result().faults;
  };
  beforeEach(async () => {
    const log = await open();
    await log.append(fact("a"));
    await log.signNow();
    for (const id of ["b", "c"]) await log.append(fact(id));
  });

  test("untouched, they are gone on with", async () => {
    expect(await storeFaults()).toEqual([]);
    expect((await open()).head.seq).toBe(3);
  });

  test("rewritten without the master's key, their hashes and the count mended, they are found and never signed", async () => {
    const [, second, third] = await recordsOf(store);
    if (!second || !third) throw new Error("no records");
    const forged = chainRecord({ seq: second.seq, hash: second.hash }, fact("innocent"));
    await put(recordKey(3), forged);
    await put(HEAD, { seq: 3, hash: forged.hash });
    expect(await storeFaults()).toEqual(["the end of the chain as the store has it is not signed by this master"]);
    await expect(open()).rejects.toMatchObject({
      code: "audit-damaged",
      message: expect.stringContaining("not signed"),
    });
  });

  test("rewritten below the signed end, the record is named", async () => {
    const [first] = await recordsOf(store);
    if (!first) throw new Error("no records");
    await put(recordKey(2), chainRecord({ seq: first.seq, hash: first.hash }, fact("innocent")));
    await expect(open()).rejects.toThrow("record 3 does not follow record 2");
  });

  test("cut off, with a count that fits, they are missed", async () => {
    const [first] = await recordsOf(store);
    await store.write([2, 3].map((seq) => ({ op: "delete", key: recordKey(seq) })));
    await expect(open()).rejects.toThrow("record 3 is gone");
    await put(HEAD, { seq: 1, hash: first?.hash ?? "" });
    await expect(open()).rejects.toThrow("not signed by this master");
    expect(await storeFaults()).toHaveLength(1);
    // a checkpoint is not the store's own end either
    await put(HEAD, decodeStored((await store.list(CHECKPOINTS))[0] ?? { key: "", value: Buffer.from("0") }) as object);
    await expect(open()).rejects.toThrow("not signed by this master");
  });
});

test("under steady load checkpoints are made all the same, and who asks for one waits for one write", async () => {
  let monotonicMs = 0;
  const log = await AuditLog.open({
    store,
    clock: { ...systemClock, monotonicMs: () => monotonicMs },
    ...signs(master),
  });
  const stopping = new AbortController();
  const worker = async () => {
    while (!stopping.signal.aborted) await log.append(fact("a"));
  };
  const workers = Array.from({ length: 16 }, worker);
  await expect.poll(() => log.checkpoint?.seq ?? 0, { timeout: 5000 }).toBeGreaterThanOrEqual(256);
  expect(seqOf((await store.list(CHECKPOINTS))[0] ?? { key: "" })).toBeLessThan(256 + 32);
  const before = log.checkpoint?.seq ?? 0;
  const asked = await log.signNow();
  expect(asked?.seq).toBeGreaterThan(before);
  expect(verifyExport(await linesOf(log), master.fingerprint).faults).toEqual([]);
  const { seq } = await log.append(fact("b"));
  monotonicMs += 2000;
  await log.append(fact("c"));
  await log.append(fact("d"));
  expect(log.checkpoint?.seq).toBeGreaterThanOrEqual(seq);
  stopping.abort();
  await Promise.all(workers);
  await log.close();
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
