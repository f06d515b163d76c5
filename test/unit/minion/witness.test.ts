import { beforeEach, expect, test } from "vitest";
import { type Checkpoint, signChain } from "../../../src/core/audit/chain.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { createLogger } from "../../../src/core/log.ts";
import { readWitnessed, Witness } from "../../../src/minion/witness.ts";
import { FakeHost } from "../../fakes/fake-host.ts";

const master = generateIdentity();
const other = generateIdentity();
const hash = (digit: string) => digit.repeat(64);
const signed = (seq: number, digit: string, by = master): Checkpoint =>
  signChain("checkpoint", { seq, hash: hash(digit) }, 1000 + seq, (message) => by.sign.sign(message));

let host: FakeHost;
let speaking = master;
const witness = () =>
  new Witness({ host, stateDir: "/state", master: () => speaking.public, log: createLogger("test", "silent") });
const kept = async () => (await readWitnessed(host, "/state"))[speaking.fingerprint];

beforeEach(async () => {
  host = new FakeHost();
  speaking = master;
  await host.makeDirectory("/state", 0o700);
});

test("the newest signed checkpoint is kept on disk, also over a restart", async () => {
  const one = witness();
  expect(await one.kept()).toBeUndefined();
  await Promise.all([one.take(signed(3, "a")), one.take(signed(7, "b"))]);
  expect(await one.kept()).toEqual(signed(7, "b"));
  expect(await witness().kept()).toEqual(signed(7, "b"));
  expect((await host.stat("/state/audit-checkpoints.json"))?.mode).toBe(0o600);
});

test.each<[string, Checkpoint, RegExp]>([
  ["one of the same number with another hash", signed(7, "c"), /signed two records 7/u],
  ["an older one that is called the newest", signed(5, "a"), /now ends at record 5, after it signed 7/u],
])("%s replaces nothing and is held against the master", async (_what, shown, dispute) => {
  const one = witness();
  await one.take(signed(7, "b"));
  await one.take(shown);
  expect(await kept()).toEqual({ checkpoint: signed(7, "b"), dispute: expect.stringMatching(dispute) as string });
  await one.take(signed(9, "d"));
  expect(await kept()).toMatchObject({ checkpoint: signed(9, "d"), dispute: expect.stringMatching(dispute) as string });
});

test("lesson: 2022-22934 authenticated data: a checkpoint that the pinned master did not sign is never kept", async () => {
  const one = witness();
  await one.take(signed(7, "b", other));
  await one.take({ ...signed(8, "b"), seq: 9 });
  expect(await kept()).toBeUndefined();
});

test("each master of a list has its own", async () => {
  const one = witness();
  await one.take(signed(7, "b"));
  speaking = other;
  await one.take(signed(2, "c", other));
  expect(await kept()).toEqual({ checkpoint: signed(2, "c", other), dispute: "" });
  speaking = master;
  expect(await one.kept()).toEqual(signed(7, "b"));
});
