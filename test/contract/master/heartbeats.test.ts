import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { AuditRecord } from "../../../src/core/audit/chain.ts";
import { type Clock, systemClock } from "../../../src/core/clock.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { signHeartbeat } from "../../../src/wire/heartbeat-signature.ts";
import { heartbeat, type TestMinion, until } from "../wire/pair.ts";
import { usePlace } from "./place.ts";
import { leaseKey, portsOf, type Rig, tinyPillar } from "./rig.ts";

const key = randomBytes(32);
const place = usePlace();
/** How far the master's clock is ahead of ours. */
let aheadMs = 0;
const clock: Clock = {
  ...systemClock,
  now: () => systemClock.now() + aheadMs,
  monotonicMs: () => systemClock.monotonicMs() + aheadMs,
};

async function start(): Promise<Rig> {
  const release_policy = join(place.directory, "release.yaml");
  writeFileSync(release_policy, JSON.stringify({ rules: [{ name: "there", require: { liveness: "15s" } }] }));
  const config = { release_policy, heartbeat: 5 };
  const one = await place.start({ clock, openPillar: async () => tinyPillar(key) }, config);
  return one;
}

async function connect(one: Rig): Promise<TestMinion> {
  const minion = await place.connect(portsOf(one), { id: "web1", fingerprints: [one.master.fingerprint] });
  return minion;
}

test("liveness counts signed heartbeats, and nothing else that a session says", async () => {
  const one = await start();
  const minion = await connect(one);
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
  for (let n = 0; n < 3; n += 1) {
    aheadMs += 10_000;
    await heartbeat(minion);
    expect(await leaseKey(minion, "disk:password")).toEqual(key);
  }
  for (let n = 0; n < 2; n += 1) {
    aheadMs += 10_000;
    await minion.connection.request("jobs.since", { lastSeq: 0 });
  }
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
});

test("a heartbeat that the minion itself did not sign ends the session and is on record", async () => {
  const one = await start();
  const minion = await connect(one);
  const { connection } = minion;
  const session = Buffer.from(connection.handshakeHash);
  const forged = signHeartbeat(
    { counter: 1, lastSeq: 0, running: [], bootId: "b" },
    generateIdentity(),
    connection.handshakeHash,
  );
  // the session may be gone before the refusal is told
  await expect(connection.request("heartbeat", forged)).rejects.toMatchObject({ exitStatus: expect.any(Number) });
  await until("the session is over", () => {
    return connection.state.kind !== "connected" || !session.equals(connection.handshakeHash);
  });
  await connection.ready(AbortSignal.timeout(60_000));
  await heartbeat(minion);
  const records: AuditRecord[] = [];
  for await (const record of one.client.stream<AuditRecord>("GET", "/v1/audit?kind=heartbeat-*")) records.push(record);
  expect(records).toMatchObject([{ kind: "heartbeat-refused", subject: "web1", from: "127.0.0.1" }]);
});
