import { beforeEach, expect, test } from "vitest";
import { generateIdentity } from "../../../src/core/identity.ts";
import { Heartbeats } from "../../../src/master/heartbeats.ts";
import { MemoryStore } from "../../../src/master/store/memory.ts";
import { signHeartbeat } from "../../../src/wire/heartbeat-signature.ts";
import { FakeSession, HandClock, openAudit, quiet, recordsOf } from "./fakes.ts";

let clock: HandClock;
let store: MemoryStore;
let heartbeats: Heartbeats;
let session: FakeSession;

beforeEach(async () => {
  clock = new HandClock();
  store = new MemoryStore(clock);
  heartbeats = new Heartbeats({ audit: await openAudit(store, clock), clock, log: quiet });
  session = new FakeSession("web1");
});

const plain = (counter: number) => ({ counter, lastSeq: 4, bootId: "b", running: [] });
const signed = (counter: number, by = session.identity, hash = session.handshakeHash) =>
  signHeartbeat(plain(counter), by, hash);
const REFUSED = { code: "heartbeat-signature", exitStatus: 5 };

test("heartbeats count upwards, with gaps", async () => {
  for (const counter of [1, 2, 9]) await heartbeats.prove(session, signed(counter));
  expect(session.isClosed).toBe(false);
  // another session counts for itself
  await heartbeats.prove(new FakeSession("web1", session.identity), signed(1));
});

test.each([
  ["of another identity", () => signed(2, generateIdentity())],
  ["of another session", () => signed(2, session.identity, Buffer.alloc(32, 8))],
  ["with another counter", () => ({ ...signed(2), counter: 3 })],
  ["with another job number", () => ({ ...signed(2), lastSeq: 5 })],
  ["with another boot", () => ({ ...signed(2), bootId: "c" })],
  ["without a signature", () => ({ ...plain(2), signature: new Uint8Array(64) })],
  ["once more", () => signed(1)],
])("lesson: 2022-22936 a heartbeat %s is refused, ends the session, and is recorded", async (_what, make) => {
  await heartbeats.prove(session, signed(1));
  await expect(heartbeats.prove(session, make())).rejects.toMatchObject(REFUSED);
  expect(session.isClosed).toBe(true);
  expect(await recordsOf(store)).toMatchObject([
    { kind: "heartbeat-refused", actor: "web1", from: "192.0.2.1", data: { suppressed: 0 } },
  ]);
});

test("a flood of them does not fill the disk", async () => {
  const bad = async () => heartbeats.prove(session, signed(1, generateIdentity()));
  for (let n = 0; n < 50; n += 1) await expect(bad()).rejects.toMatchObject(REFUSED);
  expect(await recordsOf(store)).toHaveLength(3);
  clock.time += 60_000;
  await expect(bad()).rejects.toMatchObject(REFUSED);
  expect((await recordsOf(store)).at(-1)).toMatchObject({ data: { suppressed: 47 } });
});
