import { randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import type { AuditRecord } from "../../src/core/audit/chain.ts";
import { encryptAge } from "../../src/core/age.ts";
import type { RecipientList } from "../../src/core/secrets-api.ts";
import type { PassphraseHeld } from "../../src/core/volume-api.ts";
import type { JobEvent } from "../../src/core/control-api.ts";
import type { Host } from "../../src/core/host.ts";
import { isJsonObject, type Json, type JsonObject } from "../../src/core/json.ts";
import { fetchHeader, listHeaders } from "../../src/minion/volume/header.ts";
import { readKeyslots } from "../../src/minion/volume/keyslots.ts";
import { findMapping, isSuspended } from "../../src/states/devices/block-device.ts";
import { readLuksHeader } from "../../src/states/devices/luks-header.ts";
import { bringUp } from "../../src/states/volume/bring-up.ts";
import { takeDown } from "../../src/states/volume/take-down.ts";
import { Fleet, ID } from "./support/fleet.ts";
import { Machine } from "./support/machine.ts";

const CONTENT = "row 1";
const machine = new Machine();
const directory = mkdtempSync(join(tmpdir(), "latchkey-protect-"));
/** What the machine was asked to do by systemctl. */
let systemctl: string[] = [];
const host: Host = {
  ...machine.host,
  run: async (argv, options) => {
    if (argv[0] !== "systemctl") return machine.host.run(argv, options);
    systemctl.push(argv.slice(1).join(" "));
    return machine.host.run(["true"]);
  },
};
const fleet = new Fleet(directory, host);
let count = 0;
/** One volume a test, of a name of its own: the master is the same for all. */
let volume: string;
let ref: string;
let sentence: string;
let disk: string;
let point: string;
let mapping: string;

beforeEach(async () => {
  count += 1;
  volume = `data${count}`;
  ref = `secret:volumes:${volume}:luks:key`;
  sentence = `no verified copy of the key of volume ${volume} would remain: restore the key or use --force to skip this safeguard`;
  systemctl = [];
  fleet.waitMs = 10_000;
  disk = await machine.disk(32);
  point = join(machine.directory, volume);
  mapping = machine.name(volume);
  fleet.pillar(
    `volumes:\n  ${volume}:\n    disk: ${disk}\n    luks: { key: !generate , name: ${mapping} }\n    fs: { type: ext4 }\n    mount: { point: ${point} }\n`,
  );
});
afterAll(async () => {
  await fleet.stopMaster();
  await machine.dispose();
  rmSync(directory, { recursive: true, force: true });
});

const withVolume = async <T>(use: (context: Parameters<typeof listHeaders>[0]) => Promise<T>): Promise<T> =>
  fleet.withJob("test", async ({ context, settle }) => {
    const [spec] = await context.volumes.select([volume]);
    if (spec === undefined) throw new Error("no volume");
    const result = await use(await context.volumes.context(spec));
    await settle();
    return result;
  });
const up = async (mayFormat: boolean) => withVolume(async (context) => bringUp(context, { mayFormat }));
const down = async () => withVolume(async (context) => takeDown(context, { killHolders: false }));

/** A volume that is up, with a file on it. */
async function provision(): Promise<void> {
  await up(true);
  writeFileSync(join(point, "precious"), CONTENT);
}
const content = () => readFileSync(join(point, "precious"), "utf8");

async function run(fun: string, kwargs: JsonObject = {}): Promise<{ retcode: number; text: string; result: Json }> {
  const { data, retcode } = await fleet.run(fun, kwargs);
  const row = isJsonObject(data) ? data[volume] : undefined;
  if (!isJsonObject(row)) return { retcode, text: typeof data === "string" ? data : "", result: data };
  const comment = row["comment"];
  return { retcode, text: typeof comment === "string" ? comment : "", result: row["result"] ?? null };
}

/** Pushes a job at the master; the minion of these tests takes none, so it is the master's own part alone. */
async function push(fun: string, args: readonly string[] = [], kwargs: JsonObject = {}): Promise<void> {
  const { client } = await fleet.master();
  const request = { target: { kind: "glob", expr: ID }, fun, args, kwargs, timeoutMs: 1000 };
  for await (const event of client.stream<JobEvent>("POST", "/v1/jobs", request)) if (event.event === "end") return;
}

const mapped = async () => findMapping(machine.host, mapping);
async function stateOf(): Promise<Json> {
  const { data } = await fleet.run("volume.status");
  const row = isJsonObject(data) ? data[volume] : undefined;
  const report = isJsonObject(row) ? row["report"] : undefined;
  return isJsonObject(report) ? (report["state"] ?? null) : null;
}
const slots = async () => {
  const found = await readLuksHeader(machine.host, disk);
  return found.kind === "valid" ? readKeyslots(found.header).map(({ slot }) => slot) : undefined;
};

/** Another key in the place of the stored one, behind the master's back. */
async function loseKey(): Promise<Buffer> {
  const other = randomBytes(32);
  await fleet.lease(ref, "rotate", { device: disk }, async ({ secret }) => {
    const keys = ["--key-file=-", `--keyfile-size=${secret.length}`, "--new-keyfile=-", "--new-keyfile-size=32"];
    const kdf = ["--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", "--new-key-slot=2"];
    const stdin = Buffer.concat([secret.expose(), other]);
    await machine.host.run(["cryptsetup", "luksAddKey", "--batch-mode", ...keys, ...kdf, "--", disk], { stdin });
  });
  await machine.host.run(["cryptsetup", "luksKillSlot", "--batch-mode", "--key-file=-", "--", disk, "0"], {
    stdin: other,
  });
  return other;
}

/** Opens it once more with the volume key in dm-crypt's own table, as kernels without a keyring have it. */
async function reopenWithoutKeyring(): Promise<void> {
  await machine.sh("umount", point);
  await machine.sh("cryptsetup", "close", mapping);
  await fleet.lease(ref, "open", { device: disk }, async ({ secret }) => {
    const key = ["--key-file=-", `--keyfile-size=${secret.length}`, "--disable-keyring"];
    await machine.host.run(["cryptsetup", "open", ...key, "--", disk, mapping], { stdin: secret });
  });
  await machine.sh("mount", `/dev/mapper/${mapping}`, point);
}

/** What the audit log has of forced commands on volumes. */
async function forced(): Promise<readonly Json[]> {
  const { client } = await fleet.master();
  const found: Json[] = [];
  for await (const { data } of client.stream<AuditRecord>("GET", "/v1/audit?kind=volume-command")) {
    if (data["force"] === true) found.push(data["fun"] ?? null);
  }
  return found;
}

test("I3: reboot, stop and restart are refused when the stored key opens a volume no more, rescue from the keyring is not to be had, and --force is on record before it acts", async () => {
  await provision();
  expect(await run("system.reboot")).toMatchObject({ retcode: 0 });
  expect(systemctl).toEqual(["--no-block reboot"]);
  const table = await machine.sh("dmsetup", "table", mapping);
  await loseKey();
  const before = await slots();
  for (const [fun, retcode] of [
    ["system.reboot", 3] as const,
    ["volume.stop", 1] as const,
    ["volume.restart", 1] as const,
  ]) {
    const refused = await run(fun);
    expect(refused).toMatchObject({ retcode, text: expect.stringContaining(sentence) as string });
    expect(content()).toBe(CONTENT);
  }
  expect(systemctl).toHaveLength(1);
  const rescued = await run("volume.rescue", { names: [volume] });
  expect(table).toContain(":logon:cryptsetup:");
  expect(rescued).toMatchObject({ retcode: 1, result: false });
  expect(rescued.text).toContain("the kernel keeps it in its keyring, from which nobody can read it");
  expect(rescued.text).toContain("copy the data off while the volume is up");
  expect(await slots()).toEqual(before);
  expect(content()).toBe(CONTENT);

  const force = { force: true };
  for (const fun of ["system.reboot", "volume.stop"]) await push(fun, [], force);
  expect(await forced()).toEqual(["system.reboot", "volume.stop"]);
  expect(await run("system.reboot", force)).toMatchObject({ retcode: 0 });
  expect(systemctl).toHaveLength(2);
  const stopped = await fleet.run("volume.stop", force);
  expect(stopped).toMatchObject({ retcode: 0, data: { [volume]: { comment: "down" } } });
  expect(JSON.stringify(stopped.data)).toContain(`forced: ${sentence}`);
  expect(await mapped()).toBeUndefined();
}, 120_000);

test("I3: luks.closed of a mapping that no stored key opens any more leaves it open, unless it is forced", async () => {
  await provision();
  await loseKey();
  await machine.sh("umount", point);
  const close = async (name: string, params = "") => {
    writeFileSync(join(directory, `states/${name}.sls`), `${mapping}:\n  luks.closed:${params || " []"}\n`);
    const { data, retcode } = await fleet.run("state.apply", {}, [name]);
    return { retcode, text: JSON.stringify(data) };
  };
  const refused = await close("closed");
  expect(refused.text).toContain(sentence);
  expect(refused.retcode).toBe(2);
  expect(await mapped()).toBeDefined();
  expect((await close("forced", "\n    - force: true")).retcode).toBe(0);
  expect(await mapped()).toBeUndefined();
}, 120_000);

test("lock holds the leases first and closes the volume; unlock brings it back with its data", async () => {
  await provision();
  await push("volume.lock", [volume]);
  expect(await run("volume.lock", { names: [volume] })).toMatchObject({ retcode: 0, text: "closed" });
  expect(await mapped()).toBeUndefined();
  fleet.waitMs = 200;
  await expect(up(false)).rejects.toMatchObject({ code: "lease-held" });
  expect(await run("volume.lock")).toMatchObject({ retcode: 0, text: "it was closed already" });
  // the lock outlives the master
  await fleet.stopMaster();
  await expect(up(false)).rejects.toMatchObject({ code: "lease-held" });
  await push("volume.unlock", [volume]);
  fleet.waitMs = 10_000;
  expect(await run("volume.unlock")).toMatchObject({ retcode: 0, result: true });
  expect(content()).toBe(CONTENT);
}, 120_000);

test("lock suspends a volume that is in use: its key is out of the kernel, nothing hangs, and unlock resumes it", async () => {
  await provision();
  const open = openSync(join(point, "precious"), "r");
  try {
    await push("volume.lock");
    const locked = await run("volume.lock");
    expect(locked).toMatchObject({ retcode: 0, result: true });
    expect(locked.text).toMatch(/^suspended, its key is out of the kernel; it could not be closed: .*in use/u);
    const kernelName = (await mapped())?.kernelName ?? "";
    expect(await isSuspended(machine.host, kernelName)).toBe(true);
    expect(await stateOf()).toBe("locked");
    expect((await run("volume.rescue", { names: [volume] })).text).toContain("it is suspended, and the key was wiped");
    expect(await run("volume.lock")).toMatchObject({ text: "it was suspended already" });
    await push("volume.unlock");
    expect(await run("volume.unlock")).toMatchObject({ retcode: 0, result: true });
    expect(await isSuspended(machine.host, kernelName)).toBe(false);
    expect(content()).toBe(CONTENT);
    expect(await stateOf()).toBe("up");
  } finally {
    closeSync(open);
  }
}, 120_000);

test("I1, I3: rescue takes the volume key out of the kernel's table and stores a new key that opens the volume", async () => {
  await provision();
  await reopenWithoutKeyring();
  expect((await run("volume.rescue", { names: [volume] })).text).toContain("there is nothing to rescue");
  await loseKey();
  const rescued = await run("volume.rescue", { names: [volume] });
  expect(rescued).toMatchObject({ retcode: 0, result: true });
  expect(rescued.text).toContain("version 2 of the key is in keyslot 0 and opens the volume");
  expect(await slots()).toEqual([0, 2]);
  await down();
  await up(false);
  expect(content()).toBe(CONTENT);
}, 120_000);

test("a volume that is down has nothing to rescue from, but a passphrase that somebody still has does, handed over once", async () => {
  await provision();
  const other = await loseKey();
  await machine.sh("umount", point);
  await machine.sh("cryptsetup", "close", mapping);
  expect((await run("volume.rescue", { names: [volume] })).text).toContain("it is not open");
  const hand = async (passphrase: Uint8Array) => {
    const { client } = await fleet.master();
    const { recipients } = await client.request<RecipientList>("GET", "/v1/recipients");
    const armored = await encryptAge(passphrase, recipients.slice(0, 1));
    const { ticket } = await client.request<PassphraseHeld>("POST", "/v1/volumes/passphrase", { id: ID, armored });
    return ticket;
  };
  const wrong = await run("volume.rescue", { names: [volume], ticket: await hand(randomBytes(16)) });
  expect(wrong).toMatchObject({ retcode: 1, result: false });
  expect(wrong.text).toContain("nothing was changed");
  const ticket = await hand(other);
  expect(await run("volume.rescue", { names: [volume], ticket })).toMatchObject({ retcode: 0, result: true });
  await up(false);
  expect(content()).toBe(CONTENT);
}, 120_000);

test("erase kills every keyslot, and the header in escrow brings the volume back", async () => {
  await provision();
  expect(await run("volume.erase", { names: [volume] })).toMatchObject({ retcode: 0, result: true });
  expect(await slots()).toEqual([]);
  expect(await mapped()).toBeUndefined();
  await expect(up(false)).rejects.toThrow(/does not open it|no usable keyslot|cannot/u);
  expect((await run("volume.erase", { names: [volume] })).text).toContain("erased already");
  await withVolume(async (context) => {
    const header = (await listHeaders(context)).find(({ slots: held }) => held.length > 0);
    if (header === undefined) throw new Error("no header in escrow");
    const file = join(machine.directory, "header");
    writeFileSync(file, await fetchHeader(context, header));
    await machine.sh("cryptsetup", "luksHeaderRestore", "--batch-mode", "--header-backup-file", file, disk);
  });
  await up(false);
  expect(content()).toBe(CONTENT);
}, 120_000);

test("I3: erase touches no keyslot of a volume that is in use, or that no stored key opens, unless it is forced", async () => {
  await provision();
  const open = openSync(join(point, "precious"), "r");
  try {
    expect(await run("volume.erase", { names: [volume] })).toMatchObject({ retcode: 1, result: false });
    expect(await slots()).toEqual([0]);
    expect(content()).toBe(CONTENT);
  } finally {
    closeSync(open);
  }
  await loseKey();
  const refused = await run("volume.erase", { names: [volume] });
  expect(refused).toMatchObject({ retcode: 1, result: false });
  expect(refused.text).toContain(sentence);
  expect(await slots()).toEqual([2]);
  expect(content()).toBe(CONTENT);
  expect(await run("volume.erase", { names: [volume], force: true })).toMatchObject({ retcode: 0 });
  expect(await slots()).toEqual([]);
}, 120_000);
