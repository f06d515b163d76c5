import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import type { AuditRecord } from "../../../src/core/audit/chain.ts";
import type { AuditVerification, ControlEvent, MasterStatus } from "../../../src/core/control-api.ts";
import { TransportError } from "../../../src/core/errors.ts";
import { verifyStore } from "../../../src/master/audit/verify-store.ts";
import type { LeasePoint } from "../../../src/master/leases/leases-options.ts";
import { command } from "../../../lab/command.ts";
import { runCli } from "../../cli/run-cli.ts";
import { type TestMinion } from "../wire/pair.ts";
import { usePlace } from "./place.ts";
import { leaseKey, portsOf, type Rig, type rig, tinyPillar } from "./rig.ts";

const MAIN = new URL("../../../src/main.ts", import.meta.url).pathname;
const NODE = [process.execPath, "--disable-warning=ExperimentalWarning"] as const;
const WAIT = { timeout: 60_000, interval: 50 };
const key = randomBytes(32);
const place = usePlace();

async function start(more: Parameters<typeof rig>[2] = {}): Promise<Rig> {
  const one = await place.start({ openPillar: async () => tinyPillar(key) }, more);
  return one;
}

async function connect(ports: { readonly returnPort: number }, fingerprint: string) {
  const minion = await place.connect(ports, { id: "web1", fingerprints: [fingerprint] });
  return minion;
}

const cli = async (one: Rig, ...argv: readonly string[]) =>
  runCli(argv, { socket: join(one.directory, "run/master.sock") });
const verified = async ({ client }: Rig, query = "") =>
  client.request<AuditVerification>("GET", `/v1/audit/verify${query}`);
const recordsOf = async ({ client }: Rig, query = "") =>
  Array.fromAsync(client.stream<AuditRecord>("GET", `/v1/audit?limit=1000${query}`));
const kindsOf = async (one: Rig, query = "") => (await recordsOf(one, query)).map(({ kind }) => kind);

async function leases(minion: TestMinion, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) expect(await leaseKey(minion, "disk:password")).toEqual(key);
}

describe("I4: a master killed with SIGKILL never released what is not recorded", () => {
  test.each<[LeasePoint | "sent", number]>([
    ["asked", 0],
    ["decided", 0],
    ["resolved", 0],
    ["recorded", 1],
    ["sealed", 1],
    ["sent", 1],
  ])(
    "at the point %s: %d records, the chain verifies, and the minion gets its key from the next master",
    async (point, count) => {
      const program = new URL("kill-at-point.ts", import.meta.url).pathname;
      const child = spawn(NODE[0], [NODE[1], program, place.directory, point, key.toString("hex")], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const exit = once(child, "exit");
      place.atEnd(async () => (child.kill("SIGKILL"), exit));
      const line = String((await once(createInterface({ input: child.stdout }), "line"))[0]);
      const { ports, fingerprint } = JSON.parse(line) as Pick<Rig["master"], "fingerprint" | "ports">;
      const at = { returnPort: ports.return };
      const minion = await connect(at, fingerprint);
      const answer = await leaseKey(minion, "disk:password").catch((error: unknown) => error);
      expect(answer instanceof TransportError ? "no answer" : answer).toEqual(point === "sent" ? key : "no answer");
      // its answer is out: this one dies after it
      if (point === "sent") child.kill("SIGKILL");
      expect(await exit).toEqual([null, "SIGKILL"]);

      expect((await verifyStore(join(place.directory, "state"))).faults).toEqual([]);
      const again = await start({ ret_port: ports.return });
      expect(await kindsOf(again, "&kind=lease")).toHaveLength(count);
      await expect
        .poll(async () => leaseKey(minion, "disk:password").catch((error: unknown) => error), WAIT)
        .toEqual(key);
      expect(await kindsOf(again, "&kind=lease")).toHaveLength(count + 1);
      expect((await verified(again)).faults).toEqual([]);
    },
  );
});

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn("SKIPPED: the full disk at the master needs root, for a tmpfs of its own");

test.skipIf(!isRoot)(
  "I4: on a full disk nothing is released, the operator sees why, and it goes on when there is space",
  async () => {
    const state = join(place.directory, "state");
    mkdirSync(state);
    await command(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "latchkey-test", state]);
    place.atEnd(async () => command(["umount", state]));
    const one = await start();
    const minion = await connect(portsOf(one), one.master.fingerprint);
    await leases(minion, 3);
    const filler = join(state, "filler");
    const { bsize, bavail } = statfsSync(state);
    writeFileSync(filler, Buffer.alloc(bsize * bavail));

    await expect.poll(async () => leaseKey(minion, "disk:password"), WAIT).toBe("deny");
    const before = (await kindsOf(one, "&kind=lease")).length;
    expect(await leaseKey(minion, "disk:password")).toBe("deny");
    expect((await kindsOf(one, "&kind=lease")).length).toBe(before);
    const { audit } = await one.client.request<MasterStatus>("GET", "/v1/status");
    expect(audit.failing?.reason).toMatch(/full/u);
    expect((await cli(one, "status")).stdout).toMatch(/^audit: failing since .*no key is released: .*full/mu);

    rmSync(filler);
    await expect.poll(async () => leaseKey(minion, "disk:password"), WAIT).toEqual(key);
    expect((await cli(one, "status")).stdout).not.toContain("failing");
    expect((await recordsOf(one, "&kind=audit-failed"))[0]?.data["lost"]).toBeGreaterThan(0);
    expect((await verified(one)).faults).toEqual([]);
  },
);

/** Stops a master, changes its store behind its back, and tells what a walk of the store says then. */
async function tamper(one: Rig, act: (sql: (text: string, ...values: readonly string[]) => void) => void) {
  await one.stop();
  const db = new DatabaseSync(join(place.directory, "state/store.db"));
  act((text, ...values) => db.prepare(text).run(...values));
  db.close();
  return (await verifyStore(join(place.directory, "state"))).faults;
}

const at = (seq: number) => `audit/record/${String(seq).padStart(16, "0")}`;
const CUT = [
  "delete from entries where key > ? and key < 'audit/record/:'",
  "delete from entries where key > ? and key < 'audit/checkpoint/:'",
];

describe("a tampered store: verify names the record", () => {
  test.each<[string, Parameters<typeof tamper>[1], RegExp]>([
    [
      "changed",
      (sql) =>
        sql(
          "update entries set value = cast(replace(cast(value as text), '/dev/vg0/data', '/dev/vg0/evil') as blob) where key = ?",
          at(4),
        ),
      /^record 4 was changed$/mu,
    ],
    ["removed", (sql) => sql("delete from entries where key = ?", at(5)), /^record 5 is missing$/mu],
    [
      "reordered",
      (sql) => {
        sql("update entries set key = 'x' where key = ?", at(4));
        sql("update entries set key = ? where key = ?", at(4), at(5));
        sql("update entries set key = ? where key = 'x'", at(5));
      },
      /^record 4 is damaged$/mu,
    ],
    [
      "overwritten with garbage",
      (sql) => sql("update entries set value = cast('{' as blob) where key = ?", at(6)),
      /^record 6 is damaged$/mu,
    ],
    [
      "cut off at the end",
      (sql) => sql(CUT[0] ?? "", at(5)),
      /beyond the last record 5: the chain was cut off at the end$/mu,
    ],
    [
      "signed by somebody else",
      (sql) =>
        sql(
          "update entries set value = cast(replace(cast(value as text), 'signature\":\"', 'signature\":\"00') as blob) where key like 'audit/checkpoint/%'",
        ),
      /^checkpoint \d+ is damaged$/mu,
    ],
  ])("%s", async (_what, act, fault) => {
    const one = await start();
    await leases(await connect(portsOf(one), one.master.fingerprint), 8);
    const faults = await tamper(one, act);
    expect(faults.join("\n")).toMatch(fault);
  });

  test("a master whose chain was cut off does not go on with it", async () => {
    const one = await start();
    await leases(await connect(portsOf(one), one.master.fingerprint), 8);
    await tamper(one, (sql) => sql(CUT[0] ?? "", at(5)));
    await expect(start()).rejects.toMatchObject({ code: "audit-damaged" });
    const { stdout, status } = await runCli(["audit", "verify", "--store", join(place.directory, "state")], {
      rooms: { verifyAuditStore: verifyStore },
    });
    expect(stdout).toMatch(/fault: .*cut off at the end/u);
    expect(status).toBe(1);
  });
});

function startAgent(one: Rig): ChildProcess {
  const config = {
    id: "web1",
    master: "127.0.0.1",
    master_port: one.master.ports.return,
    master_finger: one.master.fingerprint,
    state_dir: join(place.directory, "minion"),
    run_dir: join(place.directory, "minion-run"),
  };
  writeFileSync(join(place.directory, "minion.yaml"), JSON.stringify(config));
  const argv = [NODE[1], MAIN, "minion", "-c", join(place.directory, "minion.yaml")];
  const child = spawn(NODE[0], argv, { stdio: "ignore" });
  place.atEnd(async () => {
    const exit = once(child, "exit");
    if (child.kill("SIGKILL")) await exit;
  });
  return child;
}

test("a chain cut off so that the store itself shows nothing: the minion that kept its checkpoint does", async () => {
  // whoever is to do this has an older copy of the end that the master signed
  const earlier = await start();
  await earlier.stop();
  const db = new DatabaseSync(join(place.directory, "state/store.db"));
  const { value } = db.prepare("select value from entries where key = 'audit/head'").get() as { value: Uint8Array };
  db.close();
  const old = JSON.parse(Buffer.from(value).toString()) as { readonly seq: number };
  const one = await start({ heartbeat: 0.2 });
  const { return: returnPort } = one.master.ports;
  startAgent(one);
  const keeps = async (rigged: Rig) => (await verified(rigged, "?witness=1")).witnesses[0]?.checkpoint?.seq ?? 0;
  await expect.poll(async () => keeps(one), WAIT).toBeGreaterThan(old.seq);
  expect((await verified(one, "?witness=1")).faults).toEqual([]);

  const faults = await tamper(one, (sql) => {
    sql(CUT[0] ?? "", at(old.seq));
    sql(CUT[1] ?? "", at(old.seq).replace("record", "checkpoint"));
    sql("update entries set value = cast(? as blob) where key = 'audit/head'", JSON.stringify(old));
  });
  expect(faults).toEqual([]);
  const again = await start({ heartbeat: 0.2, ret_port: returnPort });
  const disputed = (async () => {
    for await (const event of again.client.stream<ControlEvent>("GET", "/v1/events")) {
      if (event.tag === "audit/disputed/web1") return event;
    }
    return undefined;
  })();
  expect((await disputed)?.data["fault"]).toMatch(/cut off|rewritten/u);
  expect((await verified(again)).faults).toEqual([]);
  const { stdout, status } = await cli(again, "audit", "verify", "--witness");
  expect(stdout).toMatch(/fault: the checkpoint \d+ that web1 keeps .*(?:cut off|rewritten)/u);
  expect(status).toBe(1);
}, 180_000);

test("lesson: Mandos wrote 0 audit lines for 30 releases at its default log level: here each has its own, and a receipt's place", async () => {
  const one = await start();
  await leases(await connect(portsOf(one), one.master.fingerprint), 30);
  const records = await recordsOf(one, "&kind=lease");
  expect(records).toHaveLength(30);
  expect(records[29]).toMatchObject({ actor: "web1", from: "127.0.0.1", data: { path: "disk:password", version: 1 } });
  expect(JSON.stringify(records)).not.toContain(key.toString("hex"));
  expect(JSON.stringify(records)).not.toContain(key.toString("base64"));
});

test("lesson: 2022-22934 authenticated end to end: an export proves itself offline, without the master, or names what was changed", async () => {
  const one = await start();
  await leases(await connect(portsOf(one), one.master.fingerprint), 5);
  const file = join(place.directory, "audit.jsonl");
  expect((await cli(one, "audit", "export", file)).stdout).toContain("exported");
  expect((await cli(one, "audit", "export", file)).status).toBe(3);
  await one.stop();
  const proof = ["audit", "verify", file, "--fingerprint", one.master.fingerprint];
  expect(await runCli(proof)).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^verified: \d+ records/u) as string,
  });
  const text = readFileSync(file, "utf8");
  writeFileSync(file, text.replace('"seq":4,"prev"', '"seq":4, "prev"').replace('"kind":"lease"', '"kind":"deny"'));
  const changed = await runCli(proof);
  expect(changed.stdout).toMatch(/^fault: record \d+ was changed$/mu);
  expect(changed.status).toBe(1);
  writeFileSync(file, text.split("\n").slice(0, -2).join("\n"));
  expect((await runCli(proof)).stdout).toContain("fault: the export has no signed end: it was cut off");
  expect((await runCli(["audit", "verify", file])).status).toBe(2);
});

test("log, filters, show and follow", async () => {
  const one = await start();
  const minion = await connect(portsOf(one), one.master.fingerprint);
  await leases(minion, 2);
  expect(await leaseKey(minion, "disk:other")).toBe("deny");
  const { stdout } = await cli(one, "audit", "log", "--minion", "web*");
  expect(stdout).toMatch(/^RECORD +TIME +KIND +WHO +FROM +WHAT$/mu);
  expect(stdout).toMatch(
    /^ +\d+ .* lease +web1 +127\.0\.0\.1 +disk:password to open \/dev\/vg0\/data, version 1: there is no release policy$/mu,
  );
  expect(stdout).toMatch(/^ +\d+ .* deny +web1 .*: its pillar names no such secret$/mu);
  expect((await cli(one, "audit", "log", "--kind", "deny", "--json")).stdout.trimEnd().split("\n")).toHaveLength(1);
  expect((await cli(one, "audit", "log", "--until", "2020-01-01")).stdout).toBe("no audit records that fit\n");
  expect((await cli(one, "audit", "log", "--since", "whenever")).status).toBe(2);
  expect((await cli(one, "audit", "show", "1")).stdout).toContain("master-started");
  expect((await cli(one, "audit", "show", "4711")).status).toBe(2);

  const seen: string[] = [];
  const followed = (async () => {
    for await (const record of one.client.stream<AuditRecord>("GET", "/v1/audit?follow=1&kind=lease&limit=1")) {
      seen.push(`${record.kind} ${record.seq}`);
      if (seen.length === 6) return;
    }
  })();
  await leases(minion, 5);
  await followed;
  const expected = (await recordsOf(one, "&kind=lease")).slice(-6).map(({ seq }) => `lease ${seq}`);
  expect(seen).toEqual(expected);
});
