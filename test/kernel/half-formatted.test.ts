import { afterAll, expect, test } from "vitest";
import type { Host } from "../../src/core/host.ts";
import { readLuksHeader } from "../../src/states/devices/luks-header.ts";
import { readLuksToken } from "../../src/states/devices/luks-token.ts";
import { hashOf, Machine } from "./support/machine.ts";
import { cutBefore, PowerCut } from "./support/power-cut.ts";
import { machineKey, StateRun } from "./support/state-run.ts";

const machine = new Machine();
const mine = machineKey();
const another = machineKey();
const keys = { "secret:mine": mine, "secret:another": another };
const KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"] as const;
afterAll(() => machine.dispose());

/** A minion of that root disk; another name is a root disk that was replaced. */
function minion(root: string, host: Host = machine.host): StateRun {
  return new StateRun(host, `${machine.directory}/${root}`, keys);
}
const format = (name: string, key = "secret:mine") => ["luks.formatted", { name, key, volume: "data" }] as const;
const calls =
  (...words: readonly string[]) =>
  (argv: readonly string[]) =>
    words.every((word) => argv.includes(word));

/** A device whose format was cut between its first token and the proof of its key. */
async function halfFormatted(root: string): Promise<string> {
  const path = await machine.disk(4);
  const cut = cutBefore(machine.host, calls("cryptsetup", "config"));
  await expect(minion(root, cut).apply(...format(path))).rejects.toBeInstanceOf(PowerCut);
  expect(await readLuksToken(machine, path)).toMatchObject({ state: "formatting", machine: [{ slot: 0, version: 1 }] });
  return path;
}

async function uuidOf(path: string): Promise<string> {
  const luks = await readLuksHeader(machine.host, path);
  return luks.kind === "valid" ? luks.header.uuid : "";
}

test("a whole format says in the header that it is done, and reports its steps in order", async () => {
  const path = await machine.disk(4);
  const run = minion("whole");
  await run.apply(...format(path));
  expect(run.steps).toEqual([
    "provision:luks-noted",
    "provision:luks-formatted",
    "provision:luks-token",
    "provision:luks-committed",
  ]);
  expect(await readLuksToken(machine, path)).toMatchObject({
    state: "committed",
    machine: [{ slot: 0, version: 1 }],
    volume: "data",
  });
  expect(await run.apply(...format(path))).toEqual([]);
});

test("I2: I3: a format that was not finished is recognised by the header alone, and kept when the key opens it", async () => {
  const path = await halfFormatted("before");
  const uuid = await uuidOf(path);
  expect(await minion("replaced").test(...format(path))).toEqual([{ field: "luks", from: "unfinished", to: "luks2" }]);
  await minion("replaced").apply(...format(path));
  expect(await uuidOf(path)).toBe(uuid);
  expect(await readLuksToken(machine, path)).toMatchObject({ state: "committed" });
  expect(await minion("replaced").apply(...format(path))).toEqual([]);
});

test("I2: a second luksFormat over a half-formatted device stays shut: what the key does not open is refused", async () => {
  const path = await halfFormatted("first");
  const before = hashOf(path);
  await expect(minion("second").apply(...format(path, "secret:another"))).rejects.toMatchObject({
    code: "half-formatted",
    message: expect.stringContaining("secret:another does not open it; nothing was changed") as string,
    hint: expect.stringContaining(`wipefs --all ${path}`) as string,
  });
  expect(hashOf(path)).toBe(before);
  await minion("second").apply(...format(path));
});

test("I2: with its note on this machine's disk a format that the key does not open is done again, once", async () => {
  const path = await halfFormatted("same");
  const uuid = await uuidOf(path);
  const before = hashOf(path);
  await minion("same").apply(...format(path, "secret:another"));
  expect(hashOf(path)).not.toBe(before);
  // the UUID that the key was leased for
  expect(await uuidOf(path)).toBe(uuid);
  expect(await minion("same").apply(...format(path, "secret:another"))).toEqual([]);
});

/** A device that is committed in its header, with the note on this machine's disk still there. */
async function committedButNoted(root: string): Promise<string> {
  const path = await machine.disk(4);
  const host: Host = { ...machine.host, remove: () => Promise.reject(new PowerCut()) };
  await expect(minion(root, host).apply(...format(path))).rejects.toBeInstanceOf(PowerCut);
  expect(await readLuksToken(machine, path)).toMatchObject({ state: "committed" });
  return path;
}

test("I2: a committed header is never formatted again, whatever is noted on this machine's disk", async () => {
  const path = await committedButNoted("noted");
  const before = hashOf(path);
  const run = minion("noted");
  expect(await run.apply(...format(path, "secret:another"))).toEqual([
    { field: "format", from: "noted", to: "committed" },
  ]);
  expect(run.steps).toEqual(["provision:luks-committed"]);
  expect(await minion("noted").apply(...format(path))).toEqual([]);
  expect(hashOf(path)).toBe(before);
});

test("I3: a key that was rotated before the note was taken away counts in whatever slot it is", async () => {
  const path = await committedButNoted("rotated");
  const uuid = await uuidOf(path);
  const sizes = ["--keyfile-size=32", "--new-keyfile-size=32", "--new-key-slot=1"] as const;
  const both = Buffer.concat([mine.bytes, another.bytes]);
  await machine.shWith(both, "cryptsetup", "luksAddKey", ...KDF, "--key-file=-", "--new-keyfile=-", ...sizes, path);
  await machine.shWith(another.bytes, "cryptsetup", "luksKillSlot", "-q", "--key-file=-", path, "0");
  const before = hashOf(path);
  await minion("rotated").apply(...format(path, "secret:another"));
  expect(await uuidOf(path)).toBe(uuid);
  expect(hashOf(path)).toBe(before);
  expect(await minion("rotated").apply(...format(path, "secret:another"))).toEqual([]);
});

test("a larger keyslot area holds eight slots, the usual one four", async () => {
  const fill = async (path: string): Promise<number> => {
    for (let slot = 1; slot < 8; slot += 1) {
      const both = Buffer.concat([mine.bytes, machineKey().bytes]);
      const sizes = ["--keyfile-size=32", "--new-keyfile-size=32", `--new-key-slot=${slot}`] as const;
      const { exitCode } = await machine.host.run(
        ["cryptsetup", "luksAddKey", ...KDF, "--key-file=-", "--new-keyfile=-", ...sizes, path],
        { stdin: both, okCodes: [0, 1] },
      );
      if (exitCode !== 0) return slot;
    }
    return 8;
  };
  const [small, large] = [await machine.disk(8), await machine.disk(24)];
  await minion("slots").apply("luks.formatted", { name: small, key: "secret:mine" });
  await minion("slots").apply("luks.formatted", { name: large, key: "secret:mine", keyslots_size: "4M" });
  expect(await fill(small)).toBe(4);
  expect(await fill(large)).toBe(8);
  const blank = await machine.disk(8);
  const odd = { name: blank, key: "secret:mine", keyslots_size: 1_000_000 };
  await expect(minion("slots").apply("luks.formatted", odd)).rejects.toMatchObject({ code: "bad-keyslots-size" });
  expect(await minion("slots").apply("luks.formatted", { ...odd, keyslots_size: "2M" })).toHaveLength(1);
});
