import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import type { LeaseList, PillarShow } from "../../../src/core/control-api.ts";
import { SqliteStore } from "../../../src/master/store/sqlite.ts";
import type { Change, WriteResult } from "../../../src/master/store/store.ts";
import { startMinion } from "../wire/pair.ts";
import { usePlace } from "./place.ts";
import { leaseKey, portsOf, tinyPillar } from "./rig.ts";

const key = randomBytes(32);
const place = usePlace();

test.each([
  ["before", 0],
  ["after", 1],
] as const)("I4: kill -9 %s the record is on disk: no key leaves, and %d records stand", async (when, records) => {
  const program = new URL("kill-during-lease.ts", import.meta.url).pathname;
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", program, place.directory, when, key.toString("hex")],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const exit = once(child, "exit");
  place.atEnd(async () => (child.kill("SIGKILL"), exit));
  const line = String((await once(createInterface({ input: child.stdout }), "line"))[0]);
  const { ports, fingerprint } = JSON.parse(line) as {
    readonly ports: { readonly return: number };
    readonly fingerprint: string;
  };
  const at = { returnPort: ports.return };
  const minion = await place.connect(at, { id: "web1", fingerprints: [fingerprint] });
  await expect(leaseKey(minion, "disk:password")).rejects.toMatchObject({ exitStatus: 4 });
  expect(await exit).toEqual([null, "SIGKILL"]);
  const store = new SqliteStore(join(place.directory, "state/store.db"));
  place.atEnd(async () => store.close());
  expect(await store.list("leases/")).toHaveLength(records);
});

test("I4: a store that fails for a while releases nothing for that while", async () => {
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
  const one = await place.start(overrides);
  const minion = await place.connect(portsOf(one), { id: "web1", fingerprints: [one.master.fingerprint] });
  failing = true;
  expect(await leaseKey(minion, "disk:password")).toBe("deny");
  failing = false;
  expect(await leaseKey(minion, "disk:password")).toEqual(key);
});

test("many leases at once on two sessions each get their own record", async () => {
  const one = await place.start({ openPillar: async () => tinyPillar(key) });
  const minions = ["web1", "web2"].map((id) =>
    startMinion(portsOf(one), { id, fingerprints: [one.master.fingerprint] }),
  );
  for (const { connection } of minions) place.atEnd(async () => connection.close());
  for (const { connection } of minions) await connection.ready(AbortSignal.timeout(60_000));
  const keys = await Promise.all(
    Array.from({ length: 40 }, async (_, n) => leaseKey(minions[n % 2] ?? never(), "disk:password")),
  );
  expect(keys.every((one) => Buffer.isBuffer(one) && one.equals(key))).toBe(true);
  const { leases } = await one.client.request<LeaseList>("GET", "/v1/leases");
  expect(new Set(leases.map(({ leaseId }) => leaseId)).size).toBe(40);
});

function never(): never {
  throw new Error("no such minion");
}

test("I1, I6: a format makes the key, and a minion leases what its own pillar names, the same key each time, and nothing of others", async () => {
  const pillar = join(place.directory, "pillar");
  mkdirSync(pillar);
  writeFileSync(join(pillar, "top.sls"), "base:\n  'web*':\n    - disk\n");
  writeFileSync(join(pillar, "disk.sls"), "disk:\n  password: !generate\n  vg_name: data\n");
  const one = await place.start({});
  const connect = async (id: string) => {
    const minion = await place.connect(portsOf(one), { id, fingerprints: [one.master.fingerprint] });
    return minion;
  };
  const web = await connect("web1");
  const database = await connect("db1");
  const shown = { disk: { password: "secret:disk:password", vg_name: "data" } };
  expect(await web.connection.request("pillar", {})).toEqual({ pillar: shown });
  expect(await one.client.request<PillarShow>("GET", "/v1/pillar/web1")).toEqual({ id: "web1", pillar: shown });
  expect(await leaseKey(web, "disk:password")).toBe("deny");
  const first = await leaseKey(web, "disk:password", "format");
  expect(first).toHaveLength(32);
  expect(await leaseKey(web, "disk:password")).toEqual(first);
  expect(await leaseKey(database, "disk:password", "format")).toBe("deny");
  expect(await leaseKey(web, "disk:vg_name")).toBe("deny");
  const other = await connect("web2");
  expect(await leaseKey(other, "disk:password", "format")).not.toEqual(first);

  writeFileSync(join(pillar, "disk.sls"), "disk: {}\n");
  expect(await leaseKey(web, "disk:password")).toBe("deny");
  writeFileSync(join(pillar, "disk.sls"), "disk: [\n");
  const broken = { kind: "bad-yaml", file: "disk.sls", line: 1 };
  expect(await web.connection.request("pillar", {})).toEqual({ broken });
  expect(await leaseKey(web, "disk:password")).toBe("deny");
});
