import { type ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { MasterStatus } from "../../src/core/control-api.ts";
import { leaseKey } from "../contract/master/rig.ts";
import { heartbeat, startMinion, type TestMinion } from "../contract/wire/pair.ts";
import { runCli, spawnCli, type Transcript, transcriptOf } from "./run-cli.ts";

const WAIT = { timeout: 60_000, interval: 100 };
let scratch = "";
let socket = "";
let minion: TestMinion;
let beating: NodeJS.Timeout | undefined;
const daemons: { readonly child: ChildProcess; readonly ended: Promise<Transcript> }[] = [];
const at = (name: string) => join(scratch, name);

const cli = async (...argv: readonly string[]) => runCli(argv, { socket, env: { HOME: scratch } });

/** Runs a command whose passphrase comes through a file descriptor. */
async function signed(...argv: readonly string[]): Promise<Transcript> {
  const fd = openSync(at("passphrase"), "r");
  try {
    return await cli(...argv, "--passphrase-fd", String(fd));
  } finally {
    closeSync(fd);
  }
}

/** A transcript whose changing parts have names in their place. */
const plain = ({ stdout, stderr, status }: Transcript) => ({
  said: `${stdout}${stderr}`
    .replaceAll(scratch, "DIR")
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/gu, "TIME")
    .replaceAll(/SHA256:[a-z0-9-]{40,}/gu, "PRINT")
    .replaceAll(/\b[0-9a-f]{64}\b/gu, "HASH")
    .replaceAll(/\b[A-Za-z0-9+/]{43}=/gu, "KEY")
    .replaceAll(/\b\d{20}(?:-[0-9a-f]{16})?\b/gu, "JID")
    .replaceAll(/hold [0-9a-f]{10}\b/gu, "hold HOLD")
    .replaceAll(/^[0-9a-f]{10}\b/gmu, "HOLD")
    .replaceAll(/(approved|denied) [0-9a-f]{10}/gu, "$1 HOLD")
    .replaceAll(/hold: +[0-9a-f]{10}/gu, "hold: HOLD")
    .replaceAll(/sha256 [0-9a-f]{16}\b/gu, "sha256 HASH")
    .replaceAll(/\b\d+(?:\.\d+)? ?(?:ms|s)\b/gu, "N s")
    .replaceAll(/ {2,}/gu, "  "),
  status,
});

const heldId = async () =>
  (JSON.parse((await cli("lease", "list", "--held", "--out", "json")).stdout) as { holds: { holdId: string }[] })
    .holds[0]?.holdId ?? "";

function startDaemon(...argv: readonly string[]) {
  const child = spawnCli(argv, {});
  const daemon = { child, ended: transcriptOf(child) };
  daemons.push(daemon);
}

async function status(): Promise<MasterStatus> {
  return JSON.parse((await cli("status", "--json")).stdout) as MasterStatus;
}

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "latchkey-release-"));
  socket = at("run/master.sock");
  for (const name of ["states", "pillar"]) mkdirSync(at(name));
  writeFileSync(at("pillar/top.sls"), "base:\n  '*':\n    - disk\n");
  writeFileSync(at("pillar/disk.sls"), "disk:\n  password: !generate\n");
  writeFileSync(at("passphrase"), "correct horse battery\n");
  const rules = [{ name: "ask", require: { approvals: { count: 1 } } }];
  writeFileSync(at("release.yaml"), JSON.stringify({ rules }));
  const config = {
    interface: "127.0.0.1",
    ret_port: 0,
    state_dir: at("state"),
    socket,
    auto_accept: true,
    heartbeat: 1,
    release_policy: at("release.yaml"),
    file_roots: { base: [at("states")] },
    pillar_roots: { base: [at("pillar")] },
  };
  writeFileSync(at("master.yaml"), JSON.stringify(config));
  startDaemon("master", "--config", at("master.yaml"));
  await vi.waitFor(status, WAIT);
  const { returnPort, fingerprint } = await status();
  minion = startMinion({ returnPort }, { id: "web1", fingerprints: [fingerprint] });
  await minion.connection.ready(AbortSignal.timeout(60_000));
  // the master ends the session of a minion that says nothing for three heartbeats
  beating = setInterval(() => void heartbeat(minion).catch(() => undefined), 500);
}, 90_000);

afterAll(async () => {
  clearInterval(beating);
  await minion.connection.close();
  for (const { child } of daemons) child.kill("SIGTERM");
  await Promise.all(daemons.map(({ ended }) => ended));
  rmSync(scratch, { recursive: true, force: true });
});

const key = (name: string) => ["--operator", name, "--key", at(`${name}.key`)] as const;
/** How the audit log names who acted: with the name of who called, where that is another. */
const by = (actor: string) => {
  const user = userInfo().username;
  return user === actor ? actor : `${actor} \\(${user}\\)`;
};
const ok = (said: string) => ({ said, status: 0 });
/** What the audit log says since it was last asked, without its first columns. */
let seen = 0;
async function audited(): Promise<readonly string[]> {
  const { stdout } = await cli("audit", "log", "--limit", "1000");
  const rows = plain({ stdout, stderr: "", status: 0 }).said.trimEnd().split("\n").slice(1);
  const fresh = rows.slice(seen);
  seen = rows.length;
  return fresh.map((row) => row.replace(/^ *\d+ +TIME +/u, ""));
}

test("operators: keygen, add, list, remove", async () => {
  await audited();
  expect(plain(await cli("operator", "list"))).toEqual(ok("no operators: root approves alone\n"));
  for (const name of ["ann", "bob", "cid"]) {
    expect(plain(await signed("operator", "keygen", "--out", at(`${name}.key`)))).toEqual(
      ok(
        `wrote DIR/${name}.key and DIR/${name}.key.pub; on the master: latchkey operator add NAME --key DIR/${name}.key.pub\n`,
      ),
    );
    const added = await cli("operator", "add", name, "--key", at(`${name}.key.pub`));
    expect(plain(added)).toEqual(ok(`added operator ${name}\n`));
  }
  expect(plain(await signed("operator", "keygen", "--out", at("ann.key")))).toEqual({
    said: 'latchkey: cannot write "DIR/ann.key": there is such a file already\n',
    status: 3,
  });
  expect((await cli("operator", "add", "root", "--key", at("ann.key.pub"))).stderr).toContain("not root, not master");
  expect((await cli("operator", "add", "dan", "--key", at("ann.key.pub"))).stderr).toContain(
    'the key is that of "ann"',
  );
  expect(plain(await cli("operator", "remove", "cid"))).toEqual(
    ok("removed operator cid; approvals that were not used yet are void\n"),
  );
  expect((await cli("operator", "remove", "cid")).status).toBe(2);
  expect(plain(await cli("operator", "list")).said).toMatch(
    /^NAME +PUBLIC KEY +ADDED\nann +\S+ +TIME\nbob +\S+ +TIME\n$/u,
  );
  expect(await audited()).toEqual([
    ...["ann", "bob", "cid"].map((name) =>
      expect.stringMatching(
        `^operator-added ${by("root")} control socket ${name}, with the key `.replaceAll(" ", " +"),
      ),
    ),
    expect.stringContaining("cid; approvals of theirs that were not used are void"),
  ]);
});

test("a lease that waits: list, show, approve by another than who asked, deny", async () => {
  expect(plain(await cli("lease", "list", "--held"))).toEqual(ok("nothing is held\n"));
  // the minion of this test takes jobs and never returns: the run goes on while it asks
  const pushed = signed("highstate", "web1", ...key("ann"), "-t", "1s");
  await expect.poll(() => minion.jobs.length, WAIT).toBe(1);
  expect(await leaseKey(minion, "disk:password", "format")).toBe("hold");
  expect(plain(await cli("lease", "list", "--held")).said).toMatch(
    /^HOLD +MINION +SECRET .*\nHOLD +web1 +disk:password +format +127\.0\.0\.1 +N s +0 of 1 +rule ask\n$/u,
  );
  const hold = await heldId();
  expect(plain(await cli("lease", "show", hold)).said).toContain("asked by: ann\n");
  expect(plain(await signed("lease", "approve", hold, "-y", ...key("ann")))).toMatchObject({
    said: expect.stringMatching(/as "ann": who asked cannot approve\n$/u),
    status: 5,
  });
  expect(plain(await cli("lease", "approve", hold, "-y"))).toMatchObject({
    said: expect.stringContaining("operators are registered, so one of them must sign"),
    status: 2,
  });
  const forged = await signed("lease", "approve", hold, "-y", "--operator", "bob", "--key", at("ann.key"));
  expect(forged).toMatchObject({ stderr: expect.stringContaining("the signature is not by their key"), status: 5 });
  expect(plain(await signed("lease", "approve", hold, "-y", ...key("bob")))).toMatchObject(
    ok(expect.stringContaining("approved HOLD for web1 (1 of 1)\n")),
  );
  expect(await leaseKey(minion, "disk:password", "format")).toHaveLength(32);
  expect((await pushed).status).toBe(1);
  expect(await leaseKey(minion, "disk:password", "open")).toBe("hold");
  expect(plain(await cli("lease", "deny", await heldId()))).toEqual(
    ok("denied HOLD: web1 does not get it in this boot\n"),
  );
  expect(await leaseKey(minion, "disk:password", "open")).toBe("deny");
  expect(plain(await cli("lease", "list", "--held")).said).toContain("denied by root");
  expect(plain(await cli("lease", "allow", "web1", "another"))).toEqual(
    ok('nothing of "another" of web1 was revoked or denied\n'),
  );
  expect(plain(await cli("lease", "allow", "web1"))).toEqual(
    ok("allowed web1 to ask again for 1 secret it was denied\n"),
  );
  expect(await audited()).toEqual([
    ...["started", "pushed"].map((done) =>
      expect.stringMatching(`^job-${done} +${by("ann")} +control socket +state\\.highstate on web1, job JID$`),
    ),
    expect.stringMatching(/^hold +web1 .*0 of 1 approvals$/u),
    expect.stringMatching(/^lease-approved +bob .*disk:password to format, hold HOLD, good until TIME$/u),
    expect.stringMatching(/^lease +web1 .*version 1, rule "ask": approved by bob$/u),
    expect.stringMatching(/^hold +web1 .*0 of 1 approvals$/u),
    expect.stringMatching(/^lease-denied +root .*disk:password to open, hold HOLD, for this boot$/u),
    expect.stringMatching(/^deny +web1 .*root denied it for this boot$/u),
    expect.stringMatching(/^lease-allowed-again +root /u),
    expect.stringMatching(/^lease-allowed-again +root /u),
  ]);
}, 60_000);

test("revoke cuts a host off, allow lets it wait again", async () => {
  expect(plain(await cli("lease", "revoke", "web1"))).toEqual(
    ok("revoked every secret of web1: its sessions are cut\n"),
  );
  expect(plain(await cli("lease", "list", "--held")).said).toMatch(
    /REVOKED +SECRET +BY +SINCE\nweb1 +.* +root +TIME\n$/u,
  );
  expect(plain(await cli("lease", "allow", "web1"))).toEqual(ok("allowed every secret of web1 again\n"));
  expect(plain(await cli("lease", "allow", "web1"))).toEqual(ok("nothing of web1 was revoked or denied\n"));
  for (const [argv, warning] of [
    [["wbe1"], 'no accepted minion is named "wbe1": is it mistyped?\n'],
    [["web1", "disk:pasword"], 'the pillar of web1 does not name "disk:pasword": is it mistyped?\n'],
  ] as const) {
    const mistyped = await cli("lease", "revoke", ...argv);
    expect(mistyped).toMatchObject({ stdout: expect.stringContaining("revoked "), stderr: warning, status: 1 });
    expect((await cli("lease", "allow", ...argv)).stdout).toMatch(/^allowed /u);
  }
  const kinds = (await audited()).map((row) => row.split(" ", 1)[0]);
  expect(kinds.slice(0, 2)).toEqual(["lease-revoked", "lease-allowed-again"]);
  await minion.connection.ready(AbortSignal.timeout(60_000));
}, 90_000);

test("reboot --no-reboot announces, signed by an operator, and restarts nothing", async () => {
  const jobs = minion.jobs.length;
  expect(plain(await cli("reboot", "web1", "--no-reboot"))).toMatchObject({
    said: expect.stringContaining("add --operator NAME and --key FILE"),
    status: 5,
  });
  expect(plain(await signed("reboot", "web1", "--no-reboot", ...key("ann")))).toEqual(
    ok("announced until TIME: web1\n"),
  );
  expect((await cli("reboot", "nobody", "--no-reboot")).status).not.toBe(0);
  expect(plain(await signed("reboot", "-L", "web1,typo", "--no-reboot", ...key("ann")))).toEqual({
    said: "announced until TIME: web1\ntypo: no accepted minion of that id\n",
    status: 1,
  });
  expect(minion.jobs).toHaveLength(jobs);
  expect(await audited()).toEqual([
    expect.stringMatching(`^reboot-announced +${by("ann")} +control socket +web1 may restart until TIME$`),
    expect.stringMatching(`^reboot-announced +${by("ann")} +control socket +web1 may restart until TIME$`),
  ]);
});

test("policy: show, explain also of what the pillar does not name, test, and a file that is mended", async () => {
  expect(plain(await cli("policy", "show")).said).toMatch(/\n1 +ask +allow +everything +approvals 1\n/u);
  const explained = await cli("policy", "explain", "web1", "disk:password");
  expect(explained.stdout).toMatch(/^web1 asks to open with "disk:password": hold\n {2}rule "ask" decides\n/u);
  for (const fact of ['purpose: "open"', "grains: .*", "newBoot: \\w+"]) {
    expect(explained.stdout).toMatch(new RegExp(`\n  ${fact} \\(the host's own word\\)\n`, "u"));
  }
  expect(explained.stdout).toMatch(/\n {2}everLeased: true\n/u);
  const json = await cli("policy", "explain", "web1", "disk:password", "--out", "json");
  expect(JSON.parse(json.stdout)).toMatchObject({ claims: expect.arrayContaining(["purpose", "grains", "newBoot"]) });
  expect((await cli("policy", "explain", "web1", "disk:other")).stdout).toMatch(
    /^web1 asks to open with "disk:other": deny\n {4}the host's pillar names no such secret \[not-in-pillar\]\n/u,
  );
  const good = { name: "asks", facts: { minionId: "web1" }, verdict: "hold", reasons: ["approvals"] };
  writeFileSync(
    at("release.test.yaml"),
    JSON.stringify({ cases: [good, { ...good, name: "wrong", verdict: "deny" }] }),
  );
  const tested = await transcriptOf(spawnCli(["policy", "test", at("release.yaml")], {}));
  expect(tested.stdout).toContain("1 of 2 cases as they should be\n");
  expect(tested.stdout).toContain("wanted deny, got hold");
  expect(tested.status).toBe(1);
  writeFileSync(at("release.yaml"), "rules: [\n");
  expect(plain(await cli("policy", "show"))).toMatchObject({
    said: expect.stringContaining("nothing is released:"),
    status: 1,
  });
  writeFileSync(at("release.yaml"), JSON.stringify({ rules: [{ name: "all" }] }));
  expect((await cli("policy", "show")).status).toBe(0);
  expect(await audited()).toEqual([
    expect.stringContaining("NOTHING IS RELEASED: "),
    expect.stringMatching(/^policy-changed +root +- +DIR\/release\.yaml is in force, sha256 HASH$/u),
  ]);
}, 60_000);

test("leakcheck on a real minion: a table of what was searched, and its records", async () => {
  const { returnPort, fingerprint } = await status();
  const config = {
    id: "real1",
    master: "127.0.0.1",
    master_port: returnPort,
    master_finger: fingerprint,
    state_dir: at("minion"),
    run_dir: at("minion-run"),
  };
  writeFileSync(at("minion.yaml"), JSON.stringify(config));
  startDaemon("minion", "--config", at("minion.yaml"));
  await expect
    .poll(async () => (await status()).minions.some(({ id, connected }) => id === "real1" && connected), WAIT)
    .toBe(true);
  await audited();
  const checked = plain(await cli("leakcheck", "real1", "--time", "20s", "--max-mib", "64"));
  expect(checked).toMatchObject(ok(expect.stringMatching(/^real1: no trace of the canary\nby pipe to /u)));
  expect(checked.said).toMatch(/\nPLACE +SEARCHED +BYTES +HITS\nmemory +\d+ +.* +none\nprocesses /u);
  await expect
    .poll(async () => (await cli("audit", "log", "--minion", "real1")).stdout, WAIT)
    .toMatch(/receipt .*leakcheck:canary: used, wiped after/u);
  expect((await audited()).filter((row) => row.startsWith("lease"))).toEqual([
    expect.stringContaining("leakcheck:canary to open leakcheck"),
  ]);
}, 120_000);

test("audit verify: the store of a running master is refused, an export goes with what minions keep", async () => {
  const locked = await transcriptOf(spawnCli(["audit", "verify", "--store", at("state")], {}));
  expect(locked).toMatchObject({ stderr: expect.stringContaining("another process has it open"), status: 3 });
  const kept = async () => (await cli("run", "real1", "audit.checkpoint", "--out", "json")).stdout;
  await expect.poll(kept, WAIT).toContain('"signature"');
  writeFileSync(at("kept.json"), await kept());
  const local = await transcriptOf(spawnCli(["call", "--local", "-c", at("minion.yaml"), "audit.checkpoint"], {}));
  expect(local).toMatchObject({ stdout: expect.stringContaining("signature:"), status: 0 });

  expect((await cli("audit", "export", at("audit.jsonl"))).status).toBe(0);
  const prove = ["audit", "verify", at("audit.jsonl"), "--fingerprint", (await status()).fingerprint] as const;
  expect(plain(await cli(...prove, "--kept", at("kept.json")))).toMatchObject(
    ok(expect.stringMatching(/^verified: /u)),
  );
  const held = JSON.parse(await kept()) as { real1: { dispute: string } };
  held.real1.dispute = "the master signed two records 3: its audit log was rewritten";
  writeFileSync(at("kept.json"), JSON.stringify(held));
  expect(plain(await cli(...prove, "--kept", at("kept.json")))).toMatchObject({
    said: expect.stringContaining("fault: real1 holds against the master: the master signed two records 3"),
    status: 1,
  });
  writeFileSync(at("kept.json"), "{");
  expect(await cli(...prove, "--kept", at("kept.json"))).toMatchObject({
    stderr: expect.stringContaining("cannot read kept checkpoints"),
    status: 2,
  });
}, 90_000);
