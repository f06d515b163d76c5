import { afterAll, expect, test } from "vitest";
import {
  adoptToken,
  type LuksToken,
  readLuksToken,
  removeLuksToken,
  writeLuksToken,
} from "../../src/states/devices/luks-token.ts";
import { Machine } from "./support/machine.ts";
import { machineKey, StateRun } from "./support/state-run.ts";

const machine = new Machine();
const { context } = new StateRun(machine.host, machine.directory);
const KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"] as const;
afterAll(() => machine.dispose());

async function luksDisk(): Promise<string> {
  const path = await machine.disk(8);
  const format = ["cryptsetup", "luksFormat", "-q", ...KDF, "--luks2-keyslots-size", "1m", "--key-file=-"] as const;
  await machine.shWith(machineKey().bytes, ...format, path);
  return path;
}

const token: LuksToken = { state: "formatting", machine: [{ slot: 0, version: 1 }], volume: "data", made: 1 };

test("a token is written beside those of others, replaced, read back and removed", async () => {
  const path = await luksDisk();
  const other = Buffer.from('{"type":"somebody","keyslots":[]}');
  await machine.shWith(other, "cryptsetup", "token", "import", "--token-id", "0", "--json-file=-", path);
  expect(await readLuksToken(context, path)).toBeUndefined();
  await writeLuksToken(context, path, token);
  expect(await readLuksToken(context, path)).toEqual(token);
  await writeLuksToken(context, path, { ...token, state: "committed" });
  expect(await readLuksToken(context, path)).toEqual({ ...token, state: "committed" });
  const dump = await machine.sh("cryptsetup", "luksDump", path);
  expect(dump).toMatch(/0: somebody\n\s*1: latchkey\n\s*Keyslot:\s*0/u);
  await removeLuksToken(context, path);
  await removeLuksToken(context, path);
  expect(await readLuksToken(context, path)).toBeUndefined();
  expect(await machine.sh("cryptsetup", "luksDump", path)).toContain("somebody");
});

test("a token for a slot that is not there is refused by cryptsetup, and the one before stays", async () => {
  const path = await luksDisk();
  await writeLuksToken(context, path, token);
  const wrong = { ...token, machine: [{ slot: 7, version: 2 }] };
  await expect(writeLuksToken(context, path, wrong)).rejects.toMatchObject({ code: "command-failed" });
  expect(await readLuksToken(context, path)).toEqual(token);
});

test("a volume from before there were tokens gets its own once, and a killed slot leaves the token by itself", async () => {
  const path = await luksDisk();
  const about = { volume: "data", made: 5 };
  expect(await adoptToken(context, path, { slot: 0, version: 2 }, about)).toBe(true);
  expect(await adoptToken(context, path, { slot: 0, version: 2 }, { volume: "data", made: 6 })).toBe(false);
  const adopted = { state: "committed", machine: [{ slot: 0, version: 2 }], volume: "data", made: 5 };
  expect(await readLuksToken(context, path)).toEqual(adopted);
  await machine.sh("cryptsetup", "luksErase", "-q", path);
  expect(await readLuksToken(context, path)).toEqual({ ...adopted, machine: [] });
});

test("a blank device has no token, and none can be written to it", async () => {
  const path = await machine.disk(4);
  expect(await readLuksToken(context, path)).toBeUndefined();
  await expect(writeLuksToken(context, path, token)).rejects.toMatchObject({ code: "no-luks" });
});
