import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { assertAgeRecipient } from "../../src/core/age-identity.ts";
import { encryptAge } from "../../src/core/age.ts";
import { isJsonObject, type Json } from "../../src/core/json.ts";
import { Secret } from "../../src/core/secret.ts";
import type { RecipientList } from "../../src/core/secrets-api.ts";
import type { PassphraseHeld } from "../../src/core/volume-api.ts";
import { MACHINE_KDF, opensSlot, readKeyslots } from "../../src/minion/volume/keyslots.ts";
import { readLuksHeader } from "../../src/states/devices/luks-header.ts";
import { Fleet, ID } from "./support/fleet.ts";
import { Machine } from "./support/machine.ts";

const REF = "secret:volumes:data:luks:key";
const machine = new Machine();
const { host } = machine;
const acting = { host, signal: new AbortController().signal };
let directory: string;
let fleet: Fleet;
let disk: string;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-recovery-"));
  fleet = new Fleet(directory, host);
  disk = machine.file(randomBytes(4).toString("hex"), 20);
  fleet.pillar(`volumes:\n  data:\n    disk: ${disk}\n    luks: { key: !generate }\n`);
  await fleet.lease(REF, "format", { device: disk }, async ({ secret }) => {
    const options = ["--type=luks2", "--batch-mode", "--luks2-keyslots-size=1m", "--key-slot=0", ...MACHINE_KDF];
    const key = ["--key-file=-", `--keyfile-size=${secret.length}`];
    await host.run(["cryptsetup", "luksFormat", ...options, ...key, "--", disk], { stdin: secret });
  });
});
afterEach(async () => {
  await fleet.stopMaster();
  rmSync(directory, { recursive: true, force: true });
});

/** From now on a person's slot costs the least that cryptsetup knows: what it costs else, the first test shows. */
function stretchLess(): void {
  const cheap = ["--pbkdf-memory=32768", "--pbkdf-force-iterations=4", "--pbkdf-parallel=1"];
  fleet = new Fleet(directory, {
    ...host,
    run: ([file, ...args], options) =>
      host.run([file, ...(args.some((word) => word.includes("argon2id")) ? cheap : []), ...args], options),
  });
}

/** Hands a passphrase in as the command line does. */
async function handIn(text: string): Promise<string> {
  const { client } = await fleet.master();
  const { recipients } = await client.request<RecipientList>("GET", "/v1/recipients");
  using passphrase = Secret.take(Buffer.from(text));
  const armored = await encryptAge(passphrase, recipients.slice(0, 1).map(assertAgeRecipient));
  return (await client.request<PassphraseHeld>("POST", "/v1/volumes/passphrase", { id: ID, armored })).ticket;
}

async function add(text: string) {
  const ticket = await handIn(text);
  return fleet.run("volume.add_recovery", { ticket }, ["data"]);
}

async function slots() {
  const luks = await readLuksHeader(host, disk);
  if (luks.kind !== "valid") throw new Error("no header");
  return readKeyslots(luks.header);
}

function comment(data: Json): string {
  const of = isJsonObject(data) ? data["data"] : undefined;
  const text = isJsonObject(of) ? of["comment"] : data;
  return typeof text === "string" ? text : JSON.stringify(text);
}

/** Everything below a directory, as one text. */
function everything(path: string): string {
  const names = readdirSync(path, { recursive: true, encoding: "utf8" }).map((name) => join(path, name));
  return names
    .filter((name) => statSync(name).isFile())
    .map((name) => readFileSync(name, "latin1"))
    .join("\n");
}

test("I5: a person's passphrase gets a slow slot behind the machine's, and is on no disk of master or minion", async () => {
  const text = `river-${randomBytes(8).toString("hex")}-stone`;
  const { data, retcode } = await add(text);
  expect(comment(data)).toContain("the passphrase is in keyslot 1 and opens it");
  expect(retcode).toBe(0);
  expect(await slots()).toEqual([
    { slot: 0, kdf: "pbkdf2", priority: "prefer" },
    { slot: 1, kdf: "argon2id", priority: "normal" },
  ]);
  using passphrase = Secret.take(Buffer.from(text));
  expect(await opensSlot(acting, disk, passphrase, 1)).toBe(true);
  await fleet.stopMaster();
  const kept = everything(directory);
  expect(kept).toContain("volume-recovery:");
  expect(kept.includes(text)).toBe(false);
  expect(kept.includes(Buffer.from(text).toString("base64").slice(0, 20))).toBe(false);
  // a rotation leaves it alone, and a second one still fits
  expect((await fleet.run("volume.rotate")).retcode).toBe(0);
  expect(await opensSlot(acting, disk, passphrase, 1)).toBe(true);
});

test("a ticket is good once, and for nobody else's secrets", async () => {
  await fleet.stopMaster();
  stretchLess();
  const ticket = await handIn("a passphrase of the test");
  expect((await fleet.run("volume.add_recovery", { ticket }, ["data"])).retcode).toBe(0);
  const again = await fleet.run("volume.add_recovery", { ticket }, ["data"]);
  expect(comment(again.data)).toContain("the master refused");
  expect(await slots()).toHaveLength(2);
  const { client } = await fleet.master();
  const offer = { id: "web2", armored: "x" };
  await expect(client.request("POST", "/v1/volumes/passphrase", offer)).rejects.toThrow("no accepted minion");
  const other = await handIn("another passphrase of the test");
  const asked = fleet.lease(`secret:volume-recovery:${other}`, "open", { device: disk }, async () => "had");
  await expect(asked).rejects.toMatchObject({ code: "lease-denied" });
});

test("one keyslot stays free for rotations; machine slots are never removed as if they were a person's", async () => {
  await fleet.stopMaster();
  stretchLess();
  await add("the first passphrase");
  await add("the second passphrase");
  const third = await add("the third passphrase");
  expect(comment(third.data)).toContain("a rotation needs the last free keyslot");
  const own = await fleet.run("volume.remove_recovery", { slot: 0 }, ["data"]);
  expect(comment(own.data)).toContain("it is the master's own\nhint: of a person: 1, 2");
  expect(comment((await fleet.run("volume.remove_recovery", { slot: 7 }, ["data"])).data)).toContain("not in use");
  expect(comment((await fleet.run("volume.remove_recovery", { slot: 1 }, ["data"])).data)).toContain(
    "keyslot 1 is gone",
  );
  expect((await slots()).map(({ slot }) => slot)).toEqual([0, 2]);
});
