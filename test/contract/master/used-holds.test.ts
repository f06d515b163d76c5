import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { controlClient } from "../../../src/cli/control-client.ts";
import type { LeaseList } from "../../../src/core/control-api.ts";
import type { HoldList } from "../../../src/core/release-api.ts";

import { usePlace } from "./place.ts";
import { leaseKey, portsOf, tinyPillar } from "./rig.ts";

const key = randomBytes(32);
const place = usePlace();

const policyPath = () => join(place.directory, "release.yaml");

async function approveHeld(client: ReturnType<typeof controlClient>): Promise<void> {
  const { holds, master } = await client.request<HoldList>("GET", "/v1/holds");
  expect(holds).toHaveLength(1);
  const [hold] = holds;
  if (!hold) return;
  const { holdId, id, path, purpose, device, address, bootId, reasonsHash } = hold;
  const about = { hold: holdId, minion: id, secret: path, purpose, device, address, bootId, reasons: reasonsHash };
  const statement = { what: "approve", master, operator: "root", expires: Date.now() + 600_000, ...about };
  await client.request("POST", "/v1/holds/approve", { statement });
}

test.each([
  ["resolved", "survives, and is used once"],
  ["recorded", "is used up for good"],
  ["sealed", "is used up for good"],
])("I4: kill -9 when an approved lease is %s: the approval %s", async (point, _what) => {
  writeFileSync(policyPath(), JSON.stringify({ rules: [{ name: "ask", verdict: "hold" }] }));
  const program = new URL("kill-at-point.ts", import.meta.url).pathname;
  const argv = [program, place.directory, point, key.toString("hex"), policyPath()];
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", ...argv], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exit = once(child, "exit");
  place.atEnd(async () => (child.kill("SIGKILL"), exit));
  const line = String((await once(createInterface({ input: child.stdout }), "line"))[0]);
  const { ports, fingerprint } = JSON.parse(line) as {
    readonly ports: { readonly return: number };
    readonly fingerprint: string;
  };
  const at = { returnPort: ports.return };
  const before = await place.connect(at, { id: "web1", fingerprints: [fingerprint] });
  expect(await leaseKey(before, "disk:password")).toBe("hold");
  await approveHeld(controlClient(join(place.directory, "run/master.sock"), new AbortController().signal));
  await expect(leaseKey(before, "disk:password")).rejects.toMatchObject({ exitStatus: 4 });
  expect(await exit).toEqual([null, "SIGKILL"]);
  await before.connection.close();

  const config = { release_policy: policyPath() };
  const one = await place.start({ openPillar: async () => tinyPillar(key) }, config);
  const { identity } = before;
  const minion = await place.connect(portsOf(one), { id: "web1", fingerprints: [fingerprint], identity });
  const leased = [await leaseKey(minion, "disk:password"), await leaseKey(minion, "disk:password")];
  expect(leased).toEqual([point === "resolved" ? key : "hold", "hold"]);
  const { holds } = await one.client.request<HoldList>("GET", "/v1/holds");
  expect(holds).toMatchObject([{ approvals: [] }]);
  await approveHeld(one.client);
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
  expect(await leaseKey(minion, "disk:password")).toBe("hold");
});

test("I6: no key leaves after a revocation was answered, also when its lease was decided before", async () => {
  const decided = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const pillar = tinyPillar(key);
  const resolveSecret: typeof pillar.resolveSecret = async (...request) => {
    decided.resolve();
    await goOn.promise;
    return pillar.resolveSecret(...request);
  };
  let sealed = 0;
  const reached = (point: string) => void (sealed += point === "sealed" ? 1 : 0);
  const overrides = { openPillar: async () => ({ ...pillar, resolveSecret }), reached };
  const one = await place.start(overrides);
  const minion = await place.connect(portsOf(one), { id: "web1", fingerprints: [one.master.fingerprint] });
  const lease = leaseKey(minion, "disk:password");
  const refused = lease.catch((error: unknown) => error);
  await decided.promise;
  await one.client.request("POST", "/v1/revocations", { action: "revoke", id: "web1", path: null });
  goOn.resolve();
  expect(await refused).toMatchObject({ exitStatus: 4 });
  await expect
    .poll(async () => (await one.client.request<LeaseList>("GET", "/v1/leases")).leases, { timeout: 60_000 })
    .toMatchObject([{ id: "web1", verdict: "deny", reasons: [{ code: "revoked" }] }]);
  expect(sealed).toBe(0);
});
