import { randomBytes } from "node:crypto";
import { copyFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { RotationList } from "../../src/core/volume-api.ts";
import { isJsonObject, type Json } from "../../src/core/json.ts";
import { Secret } from "../../src/core/secret.ts";
import type { RotationPoint } from "../../src/master/volumes/rotations.ts";
import { VOLUME_STEPS } from "../../src/core/volume-steps.ts";
import { HUMAN_KDF, MACHINE_KDF, opensSlot, readKeyslots, slotsOpenedBy } from "../../src/minion/volume/keyslots.ts";
import { readLuksHeader } from "../../src/states/devices/luks-header.ts";
import { readLuksToken } from "../../src/states/devices/luks-token.ts";
import { Fleet, ID } from "./support/fleet.ts";
import { Machine } from "./support/machine.ts";

const REF = "secret:volumes:data:luks:key";
const machine = new Machine();
const { host } = machine;
const acting = { host, signal: new AbortController().signal };
let directory: string;
let fleet: Fleet;
/** Header operations need no device-mapper: a file is as good as a disk. */
let disk: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-rotate-"));
  fleet = new Fleet(directory, host);
  disk = machine.file(randomBytes(4).toString("hex"), 20);
  fleet.pillar(`volumes:\n  data:\n    disk: ${disk}\n    luks: { key: !generate }\n`);
});
afterEach(async () => {
  await fleet.stopMaster();
  rmSync(directory, { recursive: true, force: true });
});

async function format(path = disk): Promise<void> {
  await fleet.lease(REF, "format", { device: path }, async ({ secret }) => {
    const options = ["--type=luks2", "--batch-mode", "--luks2-keyslots-size=1m", "--key-slot=0", ...MACHINE_KDF];
    const key = ["--key-file=-", `--keyfile-size=${secret.length}`];
    await host.run(["cryptsetup", "luksFormat", ...options, ...key, "--", path], { stdin: secret });
    await host.run(["cryptsetup", "config", "--priority", "prefer", "--key-slot", "0", "--", path]);
  });
}

/** Adds a person's passphrase in a slot of its own. */
async function addHuman(slot: number): Promise<Secret> {
  const phrase = Secret.take(Buffer.from(`correct horse ${randomBytes(8).toString("hex")}`));
  await fleet.lease(REF, "rotate", { device: disk }, async ({ secret }) => {
    const kdf = [...HUMAN_KDF, "--pbkdf-memory=32768", "--pbkdf-force-iterations=4", "--pbkdf-parallel=1"];
    const keys = [
      "--key-file=-",
      `--keyfile-size=${secret.length}`,
      "--new-keyfile=-",
      `--new-keyfile-size=${phrase.length}`,
    ];
    await host.run(
      ["cryptsetup", "luksAddKey", "--batch-mode", ...keys, `--new-key-slot=${slot}`, ...kdf, "--", disk],
      {
        stdin: [secret, phrase],
      },
    );
  });
  return phrase;
}

async function slotsOf(path = disk) {
  const luks = await readLuksHeader(host, path);
  if (luks.kind !== "valid") throw new Error(`${path} has no header`);
  return { header: luks.header, slots: readKeyslots(luks.header) };
}

/** Which slots the version opens that a boot would get, or a named one. */
async function opens(version?: number): Promise<readonly number[]> {
  const purpose = version === undefined ? "open" : "check";
  const subject = { device: disk, ...(version === undefined ? {} : { version }) };
  const { header } = await slotsOf();
  return fleet.lease(REF, purpose, subject, async (key) => slotsOpenedBy(acting, disk, header, key));
}

const rotations = async () => {
  const { client } = await fleet.master();
  return (await client.request<RotationList>("GET", "/v1/rotations")).rotations;
};

function outcome(data: Json): { readonly result: unknown; readonly comment: string } {
  const of = isJsonObject(data) ? data["data"] : undefined;
  if (!isJsonObject(of) || typeof of["comment"] !== "string") throw new Error(`no outcome: ${JSON.stringify(data)}`);
  return { result: of["result"], comment: of["comment"] };
}

test("a rotation adds, proves, commits, kills and verifies, and reaches every step that the code lists", async () => {
  await format();
  const steps: string[] = [];
  fleet.reached = (step) => steps.push(step);
  const { data, retcode } = await fleet.run("volume.rotate");
  expect(outcome(data)).toEqual({
    result: true,
    comment: expect.stringContaining("version 2 is in keyslot 1; keyslot 0 is gone"),
  });
  expect(retcode).toBe(0);
  expect(steps.filter((step) => step.startsWith("rotate:"))).toEqual(VOLUME_STEPS.rotate);
  // after each change of keyslots the header goes into escrow
  expect(steps.filter((step) => step === "header:stored")).toHaveLength(2);
  expect((await slotsOf()).slots).toEqual([{ slot: 1, kdf: "pbkdf2", priority: "prefer" }]);
  expect(await opens()).toEqual([1]);
  expect(await opens(1)).toEqual([]);
  expect(await readLuksToken({ host }, disk)).toMatchObject({ machine: [{ slot: 1, version: 2 }], state: "committed" });
  expect(await rotations()).toMatchObject([{ id: ID, volume: "data", from: 1, to: 2, state: "done" }]);
  expect(readdirSync(join(directory, "minion/journal"))).toEqual([]);
  // and once more: the slot that is free is used again
  expect(outcome((await fleet.run("volume.rotate")).data).result).toBe(true);
  expect(await opens()).toEqual([0]);
});

test("a person's slot stays, is not tried with a slow derivation, and is not killed", async () => {
  await format();
  using phrase = await addHuman(1);
  expect(outcome((await fleet.run("volume.rotate")).data).comment).toContain(
    "version 2 is in keyslot 2; keyslot 0 is gone",
  );
  expect((await slotsOf()).slots.map(({ slot, kdf }) => [slot, kdf])).toEqual([
    [1, "argon2id"],
    [2, "pbkdf2"],
  ]);
  expect(await opensSlot(acting, disk, phrase, 1)).toBe(true);
});

test("without room for another keyslot nothing is changed, and the error says what to do", async () => {
  await format();
  for (const slot of [1, 2, 3]) (await addHuman(slot)).wipe();
  const { data, retcode } = await fleet.run("volume.rotate");
  expect(outcome(data).comment).toContain("its header has no room beside 4 keyslots");
  expect(retcode).toBe(1);
  expect((await slotsOf()).slots).toHaveLength(4);
  expect(await opens()).toEqual([0]);
});

test("--keep-old keeps both slots; finish kills the old one", async () => {
  await format();
  const kept = await fleet.run("volume.rotate", { keep_old: true });
  expect(outcome(kept.data).comment).toContain("version 1 still opens it");
  expect([await opens(1), await opens(2), await opens()]).toEqual([[0], [1], [1]]);
  // running it again changes nothing
  expect(outcome((await fleet.run("volume.rotate")).data).comment).toContain("version 1 still opens it");
  expect(outcome((await fleet.run("volume.rotate_finish")).data).comment).toContain("keyslot 0 is gone");
  expect([await opens(1), await opens()]).toEqual([[], [1]]);
  expect(outcome((await fleet.run("volume.rotate_finish")).data).comment).toBe("nothing to finish");
});

test("rollback makes the old version current before the new slot goes; afterwards there is nothing to roll back", async () => {
  await format();
  await fleet.run("volume.rotate", { keep_old: true });
  const back = await fleet.run("volume.rotate_rollback");
  expect(outcome(back.data)).toMatchObject({ result: true });
  expect([await opens(), await opens(2)]).toEqual([[0], []]);
  expect(await rotations()).toMatchObject([{ state: "rolled-back" }]);
  expect(outcome((await fleet.run("volume.rotate_rollback")).data).comment).toContain("no rotation of it is under way");
  expect(outcome((await fleet.run("volume.rotate")).data).comment).toContain(
    "version 3 is in keyslot 1; keyslot 0 is gone",
  );
});

const POINTS: readonly RotationPoint[] = [
  "rotation-asked",
  "rotation-announced",
  "rotation-minted",
  "rotation-proven",
  "rotation-committed",
  "rotation-done",
];

test("I3: the master gone at every point of its own, a stored key opens each time, and the next contact goes on", async () => {
  await format();
  for (const [index, at] of POINTS.entries()) {
    await fleet.stopMaster();
    let isGone = false;
    fleet.overrides = {
      reached: (point) => {
        isGone ||= point === at;
        if (isGone) throw new Error("killed");
      },
    };
    const cut = await fleet.run(index === 0 ? "volume.rotate" : "volume.rotate_resume");
    expect([at, cut.retcode, isGone]).toEqual([at, 1, true]);
    await fleet.stopMaster();
    fleet.overrides = {};
    expect((await opens()).length).toBeGreaterThan(0);
  }
  expect((await fleet.run("volume.rotate_resume")).retcode).toBe(0);
  expect(await rotations()).toMatchObject([{ from: 1, to: 2, state: "done" }]);
  expect(await opens()).toHaveLength(1);
  expect((await slotsOf()).slots).toHaveLength(1);
});

test("I3: both journals lost in the middle: it goes on from what is on the disk, or says that no stored key opens", async () => {
  await format();
  const store = join(directory, "state/store.db");
  await fleet.stopMaster();
  copyFileSync(store, join(directory, "backup.db"));
  fleet.reached = (step) => {
    if (step === "rotate:slot-added") throw new Error("killed");
  };
  await fleet.run("volume.rotate");
  fleet.reached = () => {};
  // the root disk is replaced, the master restored from before the rotation: the new slot is nobody's
  await fleet.stopMaster();
  for (const suffix of ["-wal", "-shm"]) rmSync(`${store}${suffix}`, { force: true });
  copyFileSync(join(directory, "backup.db"), store);
  rmSync(join(directory, "minion/journal"), { recursive: true });
  expect(await opens()).toEqual([0]);
  expect(outcome((await fleet.run("volume.rotate")).data)).toMatchObject({
    result: true,
    comment: expect.stringContaining("version 2 is in keyslot 2; keyslot 0 is gone"),
  });
  expect(await opens()).toEqual([2]);
  // restored once more, now the only slot's key is lost to the master
  await fleet.stopMaster();
  for (const suffix of ["-wal", "-shm"]) rmSync(`${store}${suffix}`, { force: true });
  copyFileSync(join(directory, "backup.db"), store);
  const before = await slotsOf();
  const lost = outcome((await fleet.run("volume.rotate")).data);
  expect(lost.result).toBe(false);
  expect(lost.comment).toContain("stored versions opens");
  expect(lost.comment).toContain("latchkey volume rescue");
  expect((await slotsOf()).slots).toEqual(before.slots);
});

test("a disk restored from a copy of before the rotation is brought to a new version again", async () => {
  await format();
  const copy = machine.file("copy", 20);
  copyFileSync(disk, copy);
  await fleet.run("volume.rotate");
  copyFileSync(copy, disk);
  expect(await opens()).toEqual([]);
  expect(outcome((await fleet.run("volume.rotate")).data)).toMatchObject({ result: true });
  expect((await opens()).length).toBe(1);
  expect((await slotsOf()).slots).toHaveLength(1);
});

test("a key of the pillar itself is not rotated", async () => {
  await format();
  const { client } = await fleet.master();
  const { recipients } = await client.request<{ recipients: string[] }>("GET", "/v1/recipients");
  const { encryptAge } = await import("../../src/core/age.ts");
  using value = Secret.take(Buffer.from("a passphrase of the pillar"));
  const armored = (await encryptAge(value, recipients)).trimEnd().replaceAll("\n", "\n        ");
  fleet.pillar(`volumes:\n  data:\n    disk: ${disk}\n    luks:\n      key: !secret |\n        ${armored}\n`);
  const { data } = await fleet.run("volume.rotate");
  expect(outcome(data).comment).toContain("run `latchkey secret import` first");
});
