import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type JobReturn, openSpool } from "../../../src/minion/spool.ts";

const scratch = mkdtempSync(join(tmpdir(), "latchkey-spool-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const entry = (jid: string): JobReturn => ({
  jid,
  fun: "test.ping",
  success: true,
  retcode: 0,
  startedAt: 1,
  finishedAt: 2,
  startup: false,
  data: { deep: ["x"] },
});
const JID = "20261122160000000001";
const LATER = "20261122160000000002";

test("I8: a return outlasts a restart, oldest first, until it is removed", async () => {
  const directory = join(scratch, "a");
  const before = await openSpool(directory);
  await before.put(entry(LATER));
  await before.put(entry(JID));
  const after = await openSpool(directory);
  expect(after.waiting()).toEqual([JID, LATER]);
  expect(await after.get(JID)).toEqual(entry(JID));
  await after.remove(JID);
  expect((await openSpool(directory)).waiting()).toEqual([LATER]);
});

test("I8: files are private, and a full spool says so", async () => {
  const directory = join(scratch, "b");
  const spool = await openSpool(directory, { maxReturns: 2, maxBytes: 1e6 });
  await spool.put(entry(JID));
  expect(spool.full()).toBe(false);
  await spool.put(entry(LATER));
  expect(spool.full()).toBe(true);
  for (const name of readdirSync(directory)) expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600);
});

test("a return that was cut short by a power cut reads as none", async () => {
  const directory = join(scratch, "c");
  await openSpool(directory);
  writeFileSync(join(directory, `${JID}.json`), '{"jid":"2026');
  const spool = await openSpool(directory);
  expect(await spool.get(JID)).toBeUndefined();
});

test("I8: a return that cannot be read now is not taken for one that is not there", async () => {
  const directory = join(scratch, "e");
  const spool = await openSpool(directory);
  await spool.put(entry(JID));
  renameSync(join(directory, `${JID}.json`), join(scratch, "aside"));
  mkdirSync(join(directory, `${JID}.json`));
  await expect(spool.get(JID)).rejects.toMatchObject({ code: "file-failed" });
  rmdirSync(join(directory, `${JID}.json`));
  expect(await spool.get(JID)).toBeUndefined();
  renameSync(join(scratch, "aside"), join(directory, `${JID}.json`));
  expect(await spool.get(JID)).toEqual(entry(JID));
});

test("lesson: 2020-11652 a job id that is a path never reaches the disk", async () => {
  const spool = await openSpool(join(scratch, "d"));
  await expect(spool.put(entry("../../etc/passwd"))).rejects.toMatchObject({ code: "bad-jid" });
  await expect(async () => spool.get("../x")).rejects.toMatchObject({ code: "bad-jid" });
});
