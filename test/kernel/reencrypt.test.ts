import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { type Host, type RunOptions, stdinParts } from "../../src/core/host.ts";
import { isJsonObject, type Json } from "../../src/core/json.ts";
import { FURTHER_VOLUME_STEPS, type VolumeStep } from "../../src/core/volume-steps.ts";
import { HUMAN_KDF, readKeyslots } from "../../src/minion/volume/keyslots.ts";
import { isReencrypting, reencryptedBytes } from "../../src/states/devices/luks-reencryption.ts";
import { readLuksHeader } from "../../src/states/devices/luks-header.ts";
import { readLuksToken } from "../../src/states/devices/luks-token.ts";
import { Fleet, Killed } from "./support/fleet.ts";
import { hashOf, Machine, scribble } from "./support/machine.ts";
import { cutDuring } from "./support/power-cut.ts";

const REF = "secret:volumes:data:luks:key";
const BACKUP = { i_have_a_backup: true };
const STEPS = FURTHER_VOLUME_STEPS.reencrypt;
const machine = new Machine();
const { host } = machine;
let directory: string;
let fleet: Fleet;
let disk: string;
let name: string;
let count = 0;
afterAll(() => machine.dispose());

const isWriting = (argv: readonly string[]) => argv[1] === "reencrypt" && argv.includes("--resume-only");

/** A volume that is up; with a file system on `megabytes`, or none. */
async function provision(megabytes: number, point?: string): Promise<void> {
  disk = await machine.disk(megabytes);
  const mount = point === undefined ? "" : `    fs: { type: ext4 }\n    mount: { point: ${point} }\n`;
  fleet.pillar(`volumes:\n  data:\n    disk: ${disk}\n    luks: { key: !generate , name: ${name} }\n${mount}`);
  expect((await fleet.run("volume.provision")).retcode).toBe(0);
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-reencrypt-"));
  fleet = new Fleet(directory, host);
  count += 1;
  name = machine.name(`r${count}`);
});
afterEach(async () => {
  await fleet.stopMaster();
  rmSync(directory, { recursive: true, force: true });
});

async function header() {
  const luks = await readLuksHeader(host, disk);
  if (luks.kind !== "valid") throw new Error("no header");
  return luks.header;
}

/** The volume key's digest tells one volume key from another. */
const digests = async () => JSON.stringify((await header()).metadata["digests"]);
const isUnderWay = async () => isReencrypting((await header()).metadata);
const mapping = () => `/dev/mapper/${name}`;

function comment(data: Json): string {
  const of = isJsonObject(data) ? data["data"] : undefined;
  const text = isJsonObject(of) ? of["comment"] : data;
  return typeof text === "string" ? text : JSON.stringify(text);
}

const fill = () => {
  scribble(mapping(), 5 * 1024 * 1024, Buffer.alloc(3 * 1024 * 1024, "data that must stay "));
  return hashOf(mapping());
};

/** A host on which a re-encryption takes hundreds of steps. */
const slow: Host = {
  ...host,
  run: async (argv, options) => {
    const [program, ...words] = argv;
    return host.run([program, ...words.map((word) => (word === "16M" ? "512K" : word))], options);
  },
};

/** A host whose re-encryption has its key, and writes nothing before the gate opens. */
function gated(open: Promise<void>, begun: () => void): Host {
  return {
    ...host,
    run: async (argv, options) => {
      if (!isWriting(argv)) return host.run(argv, options);
      const { stdin, stdinTaken, ...others }: RunOptions = options ?? {};
      const key = Buffer.concat(stdinParts(stdin));
      stdinTaken?.();
      begun();
      await open;
      return host.run(argv, { ...others, stdin: key });
    },
  };
}

test("a volume in use gets a new volume key; the rest of the machine does not wait for it, and its data stays", async () => {
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  fleet = new Fleet(directory, gated(gate.promise, begun.resolve));
  const steps: VolumeStep[] = [];
  fleet.reached = (step) => steps.push(step);
  const point = join(machine.directory, "mnt");
  await provision(64, point);
  writeFileSync(join(point, "precious"), "row 1");
  const old = await digests();
  const reencrypting = fleet.run("volume.reencrypt", BACKUP, ["data"]);
  await begun.promise;

  expect(await isUnderWay()).toBe(true);
  const { data } = await fleet.run("volume.status");
  const row = isJsonObject(data) ? data["data"] : undefined;
  expect(row).toMatchObject({ report: { state: "up", problems: [] } });
  expect((await fleet.run("volume.start")).data).toMatchObject({ data: { comment: "up already: nothing was done" } });
  expect((await fleet.run("volume.check")).retcode).toBe(0);
  expect(comment((await fleet.run("volume.rotate", {}, ["data"])).data)).toContain("it is being re-encrypted");
  // cryptsetup suspends none that has two volume keys: said, not passed over, and nothing was taken down
  const open = openSync(join(point, "precious"), "r");
  expect(comment((await fleet.run("volume.lock", {}, ["data"])).data)).toContain(
    "it is being re-encrypted, and cannot be suspended meanwhile",
  );
  closeSync(open);
  gate.resolve();

  const done = await reencrypting;
  expect(comment(done.data)).toContain("re-encrypted; its key is in keyslot");
  expect(done.retcode).toBe(0);
  expect(steps.filter((step) => step.startsWith("reencrypt:"))).toEqual([...STEPS]);
  expect(await digests()).not.toBe(old);
  expect(readFileSync(join(point, "precious"), "utf8")).toBe("row 1");
  const [slot] = readKeyslots(await header());
  expect(slot).toMatchObject({ kdf: "pbkdf2", priority: "prefer" });
  expect(await readLuksToken({ host }, disk)).toMatchObject({ machine: [{ slot: slot?.slot, version: 1 }] });
  expect((await fleet.run("volume.restart")).retcode).toBe(0);
  expect(readFileSync(join(point, "precious"), "utf8")).toBe("row 1");
});

test("restarted in the middle it goes on by itself, and keyslots of people are not dropped unless each is named", async () => {
  fleet = new Fleet(directory, slow);
  await provision(96);
  const before = fill();
  await fleet.lease(REF, "rotate", { device: disk }, async ({ secret }) => {
    const kdf = [...HUMAN_KDF, "--pbkdf-memory=32768", "--pbkdf-force-iterations=4", "--pbkdf-parallel=1"];
    const keys = ["--key-file=-", `--keyfile-size=${secret.length}`, "--new-keyfile=-", "--new-keyfile-size=20"];
    const added = Buffer.concat([secret.expose(), Buffer.from("correct horse staple")]);
    await host.run(["cryptsetup", "luksAddKey", "--batch-mode", ...keys, ...kdf, "--", disk], { stdin: added });
    added.fill(0);
  });
  const old = await digests();
  const unsafe = await fleet.run("volume.reencrypt", { drop_slots: [1] }, ["data"]);
  expect(comment(unsafe.data)).toContain("data was lost where a re-encryption was interrupted");
  const refused = await fleet.run("volume.reencrypt", BACKUP, ["data"]);
  expect(comment(refused.data)).toContain("keyslots 1 would be gone");
  expect(comment(refused.data)).toContain("--drop-slots 1");
  expect(await digests()).toBe(old);

  const reencrypting = fleet.run("volume.reencrypt", { ...BACKUP, drop_slots: [1] }, ["data"]);
  await expect.poll(async () => reencryptedBytes((await header()).metadata), { timeout: 60_000 }).toBeGreaterThan(0);
  expect(await fleet.run("volume.restart")).toMatchObject({ retcode: 0 });
  const done = await reencrypting;
  expect(comment(done.data)).toContain("re-encrypted; its key is in keyslot");
  expect(readKeyslots(await header())).toHaveLength(1);
  expect(hashOf(mapping())).toBe(before);
});

/** Takes away the mapping and the pieces that a re-encryption which was killed has left above and below it. */
async function unmapAll(): Promise<void> {
  const left = async () =>
    (await machine.sh("dmsetup", "ls")).split("\n").flatMap((line) => {
      const [mapped = ""] = line.split(/\s/u);
      return mapped.startsWith(name) ? [mapped] : [];
    });
  for (let round = 1; (await left()).length > 0; round += 1) {
    if (round > 5) throw new Error(`still mapped: ${await machine.sh("dmsetup", "info")}`);
    // those that others lie on go in the next round
    for (const mapped of await left()) await host.run(["dmsetup", "remove", "--force", mapped], { okCodes: [0, 1] });
  }
}

test("I3: cut off in the middle of a write, a start opens it with the stored key, its data is whole, and it goes on", async () => {
  await provision(48);
  const before = fill();
  const cut = cutDuring(host, isWriting, async () => reencryptedBytes((await header()).metadata) > 0);
  const broken = new Fleet(directory, cut);
  await fleet.stopMaster();
  await broken.run("volume.reencrypt", BACKUP, ["data"]).catch(() => {});
  await broken.stopMaster();
  // the power is gone, and with it what was mapped
  await unmapAll();
  const started = await fleet.run("volume.start");
  expect(started.retcode).toBe(0);
  expect(hashOf(mapping())).toBe(before);
  expect((await fleet.run("volume.reencrypt_resume", {}, ["data"])).retcode).toBe(0);
  expect(await isUnderWay()).toBe(false);
  expect(hashOf(mapping())).toBe(before);
  const again = await fleet.run("volume.reencrypt_resume", {}, ["data"]);
  expect(comment(again.data)).toBe("no re-encryption is under way");
});

const KILLED_AT = process.env["LATCHKEY_TEST_ALL_STEPS"]
  ? STEPS
  : STEPS.filter((step) => step === "reencrypt:begun" || step === "reencrypt:data-written");

test("I3: a minion killed at any step of it completes it when it starts again, the stored key opens it and its data is whole", async () => {
  await provision(24);
  const before = fill();
  for (const at of KILLED_AT) {
    const old = await digests();
    fleet.reached = (step) => {
      if (step === at) throw new Killed(at);
    };
    expect((await fleet.run("volume.reencrypt", BACKUP, ["data"])).retcode).not.toBe(0);
    fleet.reached = () => {};
    expect((await fleet.run("volume.reencrypt_resume", {}, ["data"])).retcode).toBe(0);
    expect(await isUnderWay()).toBe(false);
    // before there is a second volume key nothing has begun
    expect((await digests()) === old).toBe(at === "reencrypt:noted");
    expect((await fleet.run("volume.restart")).retcode).toBe(0);
    expect(hashOf(mapping())).toBe(before);
    const [slot] = readKeyslots(await header());
    expect(await readLuksToken({ host }, disk)).toMatchObject({ machine: [{ slot: slot?.slot, version: 1 }] });
  }
});
