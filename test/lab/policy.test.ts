import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LabHost } from "../../lab/host.ts";
import { Lab } from "../../lab/lab.ts";
import { Scene, VOLUME } from "../../lab/scene.ts";
import { waitUntil } from "../../lab/wait-until.ts";
import type { AuditRecord } from "../../src/core/audit/chain.ts";
import type { MasterStatus } from "../../src/core/control-api.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import type { Explained, HoldEntry, HoldList } from "../../src/core/release-api.ts";

const MAPPED = `${VOLUME.vgName}_crypt`;
const OPERATORS = ["ann", "bob", "cid"] as const;
const PASSPHRASE = "a passphrase for the lab alone";
const LIVENESS_SECONDS = 6;

// systemd ends a reboot by turning the machine off, and the lab turns it on again: a machine that starts by itself would
// come up inside the same process, with the network port still taken
const REBOOT_ENDS_OFF = {
  "/etc/systemd/system/systemd-reboot.service.d/lab.conf": { text: "[Unit]\nSuccessAction=poweroff-force\n" },
};

let lab: Lab;
let scene: Scene;
let host: LabHost;
let policyPath: string;
beforeAll(async () => {
  lab = await Lab.create((line) => console.error(line));
  policyPath = join(lab.directory, "release.yaml");
  setPolicy({ require: { once_a_boot: true, announced_reboot: true } });
  scene = await Scene.set(lab, { masterSettings: { release_policy: policyPath, heartbeat: 1 } });
  host = await scene.addMinion("alpha", {}, { files: REBOOT_ENDS_OFF });
});
afterAll(async () => {
  await lab?.destroy();
});

/** Puts a policy of one rule in force, as an operator should: whole, by a rename. */
function setPolicy(rule: JsonObject): void {
  const match = { hosts: ["alpha"], secrets: ["password"], networks: ["10.77.0.0/24"] };
  // JSON is YAML
  writeFileSync(`${policyPath}.new`, JSON.stringify({ rules: [{ name: "volume", match, ...rule }] }));
  renameSync(`${policyPath}.new`, policyPath);
}

const cli = async (...words: readonly string[]) => (await scene.master.cli(words)).stdout;
const anyEnd = { okCodes: [0, 1, 2, 3, 4, 5, 6], timeoutMs: 120_000 };
const refusal = async (words: readonly string[], input = "") => {
  const { exitCode, stderr } = await scene.master.cli(words, { ...anyEnd, input });
  return { exitCode, stderr };
};

async function records(kind: string): Promise<readonly AuditRecord[]> {
  const text = await cli("audit", "log", "--kind", kind, "--limit", "1000", "--json");
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as AuditRecord);
}
const codes = ({ data }: AuditRecord) =>
  (Array.isArray(data["reasons"]) ? data["reasons"] : []).map((reason: Json) => (reason as JsonObject)["code"]);

const holds = async () => (await scene.master.query<HoldList>(["lease", "list", "--held"])).holds;
const session = async () =>
  (await scene.master.query<MasterStatus>(["status"])).minions.find(({ id }) => id === "alpha");
const isConnected = async () => (await session())?.connected === true;
const theHold = async (code: string): Promise<HoldEntry> =>
  waitUntil(
    `a hold because of ${code}`,
    async () => (await holds()).find(({ reasons }) => reasons.some((reason) => reason.code === code)),
    90_000,
  );

const isOpen = async () => {
  const { exitCode } = await host.run(`mountpoint -q ${VOLUME.mountpoint}`, { okCodes: [0, 1, 32] });
  return exitCode === 0;
};
const isShut = async () => {
  const { exitCode } = await host.run(`test ! -e /dev/mapper/${MAPPED}`, { okCodes: [0, 1] });
  return exitCode === 0 && !(await isOpen());
};
const close = () => host.run(`umount ${VOLUME.mountpoint} && cryptsetup close ${MAPPED}`);
/** A highstate that may have to wait for people. */
const highstate = () => scene.master.cli(["highstate", "alpha"], anyEnd);

/** The receipts that say mounted, once there are as many. */
const mounts = async (count: number) =>
  waitUntil(
    `${count} mounts in the audit log`,
    async () => {
      const found = (await records("receipt")).filter(({ data }) => data["outcome"] === "mounted");
      return found.length >= count ? found : undefined;
    },
    30_000,
  );

/** Turns the host on and waits for its startup run to have ended well. */
async function bootAndOpen(): Promise<void> {
  const startedAt = Date.now();
  await host.boot();
  expect(await scene.startupRun("alpha", startedAt)).toMatchObject({ success: true, failed: 0 });
  expect(await isOpen()).toBe(true);
}

/** Waits for the release that the last approval led to, and says how long it took by the master's own records. */
async function tellOpening(what: string): Promise<number> {
  const approved = (await records("lease-approved")).at(-1);
  const after = async (kind: string) =>
    waitUntil(
      `a ${kind} after the approval`,
      async () => (await records(kind)).find(({ seq }) => seq > (approved?.seq ?? Infinity)),
      20_000,
    );
  const leasedMs = (await after("lease")).at - (approved?.at ?? 0);
  const openedMs = (await after("receipt")).at - (approved?.at ?? 0);
  console.error(
    `${what}: key released ${leasedMs} ms, volume opened and key wiped ${openedMs} ms after the last approval`,
  );
  return leasedMs;
}

const keyFile = (name: string) => join(lab.directory, `${name}.key`);
const signed = (name: string) => ["--as", name, "--key", keyFile(name), "--passphrase-fd", "0"];
const approve = (hold: HoldEntry, name: string) =>
  scene.master.cli(["lease", "approve", hold.holdId, "--yes", ...signed(name)], { input: PASSPHRASE });

/** Restarts the host with `latchkey reboot`, from the announcement until the machine is off. */
async function announcedReboot(signer: readonly string[] = []): Promise<void> {
  const mark = host.console.mark;
  await scene.master.cli(["reboot", "alpha", ...signer], { ...anyEnd, input: PASSPHRASE });
  await host.console.waitFor(/^power off$/u, 60_000, mark);
}

test("once a boot: the first boot builds and opens; the volume closed by hand stays shut, and no is no", async () => {
  await bootAndOpen();
  const leases = await records("lease");
  expect(leases.map(({ data }) => data["purpose"])).toEqual(["format", "open"]);
  const proven = await mounts(2);
  expect(new Set(proven.map(({ data }) => data["lease"]))).toEqual(new Set(leases.map(({ seq }) => seq)));
  for (const { data } of proven) {
    const used = (await records("receipt")).find((one) => one.data["lease"] === data["lease"]);
    expect(["formatted", "opened"]).toContain(used?.data["outcome"]);
    expect(data).toMatchObject({ wiped: true, signature: expect.stringMatching(/^[0-9a-f]{128}$/u) });
    expect(Number(data["tookMs"])).toBeGreaterThan(Number(used?.data["tookMs"]));
  }
  expect(await cli("lease", "list")).toMatch(/open .*allow +opened \d+ ms, wiped; mounted \d+ ms/u);
  await close();
  const run = highstate();
  const hold = await theHold("once-a-boot");
  expect(hold).toMatchObject({ id: "alpha", path: "password", purpose: "open", address: host.address, rule: "volume" });
  expect(await isShut()).toBe(true);
  await cli("lease", "deny", hold.holdId);
  expect((await run).stdout).toMatch(/the master refused/u);
  expect(await isShut()).toBe(true);
});

test("once a boot, announced reboots: after `latchkey reboot` the new boot leases again and is not held", async () => {
  const before = (await records("hold")).length;
  await announcedReboot();
  await bootAndOpen();
  expect((await records("hold")).length).toBe(before);
  const boots = (await records("lease")).map(({ data }) => data["bootId"]);
  expect(boots).toHaveLength(3);
  expect(new Set(boots).size).toBe(2);
  const [mounted] = (await mounts(3)).slice(-1);
  expect(mounted?.data).toMatchObject({ purpose: "open", bootId: boots.at(-1) });
});

test("announced reboots: after a power cut the volume stays shut until somebody approves, and opens at once then", async () => {
  await host.powerCut();
  await host.boot();
  const hold = await theHold("unannounced-reboot");
  expect(await isShut()).toBe(true);
  expect(await cli("lease", "list", "--held")).toMatch(/alpha.*password.*open.*0 of 1.*unannounced-reboot/u);
  await cli("lease", "approve", hold.holdId, "--yes");
  expect(await tellOpening("power cut")).toBeLessThan(1000);
  await waitUntil("the volume is mounted", isOpen, 20_000);
  expect(await holds()).toEqual([]);
});

test("liveness: a host that was away for too long is held when it asks again", async () => {
  setPolicy({ require: { liveness: `${LIVENESS_SECONDS}s` } });
  await close();
  await lab.network.disconnect(host.tap);
  const silentMs = async () => {
    const { facts } = await scene.master.query<Explained>(["policy", "explain", "alpha", "password"]);
    return Number(facts["silentMs"]);
  };
  await waitUntil("it was away for long", async () => (await silentMs()) > (LIVENESS_SECONDS + 1) * 1000, 60_000, 500);
  await lab.network.reconnect(host.tap);
  await waitUntil("it is back", isConnected, 60_000);
  const run = highstate();
  const hold = await theHold("liveness");
  expect(await isShut()).toBe(true);
  await cli("lease", "approve", hold.holdId, "--yes");
  expect(await tellOpening("liveness")).toBeLessThan(1000);
  expect((await run).exitCode).toBe(0);
  expect(await isOpen()).toBe(true);
});

test("approvals: two of three, and not by who asked for the reboot; one is not enough", async () => {
  for (const name of OPERATORS) {
    await scene.master.cli(["operator", "keygen", "--out", keyFile(name), "--passphrase-fd", "0"], {
      input: PASSPHRASE,
    });
    await cli("operator", "add", name, "--key", `${keyFile(name)}.pub`);
  }
  setPolicy({ require: { approvals: { count: 2, of: [...OPERATORS] }, announced_reboot: true } });
  expect((await refusal(["reboot", "alpha"])).exitCode).toBe(5);
  await announcedReboot(signed("ann"));
  await host.boot();
  const hold = await theHold("approvals");
  expect(hold.reasons.map(({ code }) => code)).toEqual(["approvals"]);
  expect(hold.askers).toEqual(["ann"]);
  expect((await refusal(["lease", "approve", hold.holdId, "--yes"])).exitCode).not.toBe(0);
  const own = await refusal(["lease", "approve", hold.holdId, "--yes", ...signed("ann")], PASSPHRASE);
  expect(own).toMatchObject({ exitCode: 5, stderr: expect.stringContaining("who asked cannot approve") });
  expect((await approve(hold, "bob")).stdout).toContain("1 of 2");
  // the same person twice is still one, although each approval makes the host ask again
  const asked = (await records("lease")).length;
  expect((await approve(hold, "bob")).stdout).toContain("1 of 2");
  expect(await isShut()).toBe(true);
  expect((await records("lease")).length).toBe(asked);
  expect((await approve(hold, "cid")).stdout).toContain("2 of 2");
  expect(await tellOpening("two of three")).toBeLessThan(1000);
  await waitUntil("the volume is mounted", isOpen, 20_000);
});

test("revoke: a running host's session is gone at once, and every further lease is denied", async () => {
  setPolicy({});
  const before = await waitUntil("it is connected", session, 20_000);
  expect(before.connected).toBe(true);
  await cli("lease", "revoke", "alpha");
  const after = await session();
  expect(after?.connected === false || (after?.since ?? 0) > before.since).toBe(true);
  await waitUntil("it is back, without keys", isConnected, 60_000);
  await close();
  expect((await highstate()).stdout).toMatch(/the master refused/u);
  expect(await isShut()).toBe(true);
  await cli("lease", "allow", "alpha");
  expect((await highstate()).exitCode).toBe(0);
  expect(await isOpen()).toBe(true);
});

test("keys reject: the session is gone at once, and the host does not come back", async () => {
  const mark = host.console.mark;
  // what a rejected host hears is what an unknown one does
  await cli("keys", "reject", "alpha", "--yes");
  expect(await isConnected()).toBe(false);
  await host.console.waitFor(/to accept this key/u, 60_000, mark);
  expect(await isConnected()).toBe(false);
  expect((await scene.keys()).map(({ state }) => state)).toEqual(["rejected"]);
});

test("the audit log holds every one of those decisions with its reasons, and verifies", async () => {
  const leases = (await records("lease")).map(codes);
  expect(leases).toEqual([
    ["rule"],
    ["rule"],
    ["rule"],
    ["unannounced-reboot", "approved"],
    ["liveness", "approved"],
    ["approved"],
    ["rule"],
  ]);
  const held = new Set((await records("hold")).flatMap(codes));
  expect(held).toEqual(new Set(["once-a-boot", "unannounced-reboot", "liveness", "approvals"]));
  const denied = (await records("deny")).map(codes);
  expect(denied).toEqual([["denied-by-operator"], ["revoked"]]);
  const actors = async (kind: string) => (await records(kind)).map(({ actor }) => actor);
  expect(await actors("lease-approved")).toEqual(["root", "root", "bob", "bob", "cid"]);
  expect(await actors("lease-denied")).toEqual(["root"]);
  expect(await actors("reboot-announced")).toEqual(["root", "ann"]);
  expect(await actors("lease-revoked")).toEqual(["root"]);
  expect(await actors("lease-allowed-again")).toEqual(["root"]);
  expect(await actors("operator-added")).toHaveLength(3);
  expect(await actors("key-rejected")).toHaveLength(1);
  expect(await actors("policy-changed")).toHaveLength(4);
  for (const { data } of await records("receipt")) {
    expect(data["wiped"]).toBe(true);
    expect(["opened", "formatted", "checked", "mounted"]).toContain(data["outcome"]);
  }
  const { stdout, exitCode } = await scene.master.cli(["audit", "verify"]);
  console.error(stdout.trim());
  expect(exitCode).toBe(0);
});
