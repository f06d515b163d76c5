import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import type { AuditRecord } from "../../../src/core/audit/chain.ts";
import type { BackupReport } from "../../../src/core/backup-api.ts";
import type { AuditVerification } from "../../../src/core/control-api.ts";
import { sha256 } from "../../../src/core/crypto/hash.ts";
import { runCli } from "../../cli/run-cli.ts";
import { usePlace } from "./place.ts";
import { leaseKey, portsOf, type Rig, rig } from "./rig.ts";

const place = usePlace();
const PATH = "disk:password";
let target: string;
beforeEach(() => {
  for (const name of ["pillar/hosts", "states", "elsewhere"])
    mkdirSync(join(place.directory, name), { recursive: true });
  writeFileSync(join(place.directory, "pillar/hosts/web1.yaml"), "disk:\n  password: !generate\n");
  target = join(place.directory, "elsewhere/store.db");
});

const backUp = async ({ client }: Rig, path = target, force = false) =>
  client.request<BackupReport>("POST", "/v1/backup", { path, force });

test("a backup made while leases are recorded restores a master that serves the same key", async () => {
  const one = await place.start({});
  const { identity, connection } = await place.connect(portsOf(one), {
    id: "web1",
    fingerprints: [one.master.fingerprint],
  });
  const minion = { identity, connection } as Parameters<typeof leaseKey>[0];
  const key = await leaseKey(minion, PATH, "format");
  expect(key).toBeInstanceOf(Buffer);
  const stopping = new AbortController();
  const herd = Array.from({ length: 4 }, async () => {
    while (!stopping.signal.aborted) expect(await leaseKey(minion, PATH)).toEqual(key);
  });
  const report = await backUp(one);
  stopping.abort();
  await Promise.all(herd);

  expect(report).toMatchObject({ secretVersions: 1, minionKeys: 1, fingerprint: one.master.fingerprint });
  expect(report.sha256).toBe(sha256(readFileSync(target)).toString("hex"));
  expect(readdirSync(join(place.directory, "elsewhere"))).toEqual(["store.db"]);
  expect(statSync(target).mode & 0o777).toBe(0o600);
  await connection.close();
  await one.stop();

  const restored = join(place.directory, "restored");
  mkdirSync(join(restored, "state"), { recursive: true, mode: 0o700 });
  for (const name of ["identity", "age.key"])
    copyFileSync(join(place.directory, "state", name), join(restored, "state", name));
  copyFileSync(target, join(restored, "state/store.db"));
  const two = await rig(restored, {}, { pillar_roots: { base: [join(place.directory, "pillar")] } });
  place.atEnd(async () => two.stop());
  expect(two.master.fingerprint).toBe(one.master.fingerprint);
  const again = await place.connect(portsOf(two), { id: "web1", identity, fingerprints: [two.master.fingerprint] });
  expect(await leaseKey(again, PATH)).toEqual(key);
  expect((await two.client.request<AuditVerification>("GET", "/v1/audit/verify")).faults).toEqual([]);
  const made = await Array.fromAsync(two.client.stream<AuditRecord>("GET", "/v1/audit?kind=store-backed-up&limit=9"));
  expect(made).toMatchObject([{ actor: "root", data: { path: target, force: false } }]);
  expect(report.audit.seq).toBeGreaterThanOrEqual(made[0]?.seq ?? Number.POSITIVE_INFINITY);
}, 60_000);

test("a file that is there is kept, unless it is to be replaced; the state directory is no place for a backup", async () => {
  const one = await place.start({});
  writeFileSync(target, "mine");
  await expect(backUp(one)).rejects.toMatchObject({ code: "file-exists", exitStatus: 2 });
  expect(readFileSync(target, "utf8")).toBe("mine");
  await backUp(one, target, true);
  expect(readFileSync(target, "utf8").startsWith("SQLite format 3\0")).toBe(true);
  const own = join(place.directory, "state/store.db");
  await expect(backUp(one, own, true)).rejects.toMatchObject({ code: "bad-file" });
  await expect(backUp(one, "store.db")).rejects.toMatchObject({ code: "bad-file" });
  await expect(backUp(one, join(place.directory, "elsewhere"), true)).rejects.toThrow("no regular file");
  expect(readdirSync(join(place.directory, "elsewhere"))).toEqual(["store.db"]);
});

test("a backup is not written where another user could put another file in its place, nor through a link", async () => {
  const one = await place.start({});
  const open = join(place.directory, "open");
  mkdirSync(open);
  chmodSync(open, 0o777);
  await expect(backUp(one, join(open, "store.db"))).rejects.toMatchObject({
    code: "unsafe-directory",
    message: `cannot use the directory of a backup "${open}": every user may write to "${open}"`,
  });
  // as in /tmp: what is ours there nobody moves
  chmodSync(open, 0o1777);
  writeFileSync(join(place.directory, "victim"), "mine");
  symlinkSync("../victim", join(open, "link"));
  linkSync(join(place.directory, "victim"), join(open, "second"));
  await expect(backUp(one, join(open, "link"), true)).rejects.toMatchObject({ code: "bad-file" });
  await backUp(one, join(open, "second"), true);
  expect(readFileSync(join(place.directory, "victim"), "utf8")).toBe("mine");
  expect(readFileSync(join(open, "second"), "utf8").startsWith("SQLite format 3\0")).toBe(true);
});

test("the command line says what the backup holds, and what must be kept beside it", async () => {
  const one = await place.start({});
  const { stdout, status } = await runCli(["backup", target], { socket: join(place.directory, "run/master.sock") });
  expect(status).toBe(0);
  expect(stdout).toContain(`backed up to ${target}: `);
  expect(stdout).toContain(one.master.fingerprint);
  for (const kept of ["state/identity", "state/age.key", "pillar", "states"])
    expect(stdout).toContain(`\n  ${join(place.directory, kept)}\n`);
});
