import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { HeaderList } from "../../src/core/volume-header.ts";
import type { VolumeList } from "../../src/core/volume-api.ts";
import { checkVolume, type CheckResult } from "../../src/minion/volume/check.ts";
import { escrowHeader } from "../../src/minion/volume/header.ts";
import { restoreHeader } from "../../src/minion/volume/restore.ts";
import type { VolumeContext } from "../../src/minion/volume/runner.ts";
import { writeLuksToken } from "../../src/states/devices/luks-token.ts";
import { atCommand } from "./support/at-command.ts";
import { hashOf, Machine, scribble } from "./support/machine.ts";
import { WithMaster } from "./support/with-master.ts";

const KEY = "volumes:data:luks:key";
const KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
const machine = new Machine();
const vg = machine.name("vg");
const device = `/dev/${vg}/data`;
const mapping = machine.name("data");
let disk = "";
let world: WithMaster;
let context: VolumeContext;
/** A keyslot that somebody adds by hand, with the key of the human slot that the test made. */
const human = randomBytes(16);

const codesOf = ({ report }: CheckResult) => report.problems.map(({ code }) => code);
const headers = async () => (await world.one.client.request<HeaderList>("GET", "/v1/headers")).headers;
const section = () => ({ disk, lvm: { vg, lv: "data" }, luks: { key: `secret:${KEY}`, name: mapping } });

async function addByHand(key: Buffer, slot: number): Promise<void> {
  const sizes = [`--keyfile-size=${human.length}`, "--new-keyfile=-", `--new-keyfile-size=${key.length}`];
  const stdin = Buffer.concat([human, key]);
  const chosen = ["--new-key-slot", String(slot)];
  await machine.shWith(stdin, "cryptsetup", "luksAddKey", "--key-file=-", ...sizes, ...chosen, ...KDF, device);
}

beforeAll(async () => {
  disk = await machine.disk(24);
  const yaml = `{disk: ${disk}, lvm: {vg: ${vg}, lv: data}, luks: {key: !generate , name: ${mapping}}}`;
  world = await WithMaster.start(machine, { data: yaml });
  context = world.context("data", section());
  await machine.sh("vgcreate", "-q", vg, disk);
  await machine.sh("lvcreate", "-q", "-Wn", "-Zn", "-l", "100%FREE", "-n", "data", vg);
  // as luks.formatted does it, and a human's passphrase beside the machine's slot
  await context.lease(`secret:${KEY}`, "format", { device }, async ({ secret, version }) => {
    const options = ["--type=luks2", "--batch-mode", "--luks2-keyslots-size=1m", "--key-file=-", "--keyfile-size=32"];
    await machine.host.run(["cryptsetup", "luksFormat", ...options, ...KDF, device], { stdin: secret });
    const sizes = ["--keyfile-size=32", "--new-keyfile=-", `--new-keyfile-size=${human.length}`];
    const stdin = Buffer.concat([secret.expose(), human]);
    await machine.host.run(["cryptsetup", "luksAddKey", "--key-file=-", ...sizes, ...KDF, device], { stdin });
    await writeLuksToken(context, device, {
      state: "committed",
      machine: [{ slot: 0, version }],
      volume: "data",
      made: 1,
    });
  });
});
afterAll(async () => {
  await world.stop();
  await machine.dispose();
});
let good: Buffer;
beforeEach(async () => {
  // every test but the first begins with the header as the first one left it
  if (good !== undefined) scribble(device, 0, good);
});

test("the first check proves the key, puts the header into escrow and finds nothing wrong; the second changes nothing", async () => {
  const first = await checkVolume(context);
  expect(first).toMatchObject({ escrowed: 1, key: { kind: "opens", version: 1, how: "lease" } });
  expect(codesOf(first)).toEqual([]);
  expect(first.report.proven.version).toBe(1);
  const before = hashOf(device);
  const second = await checkVolume(context);
  expect(second).toMatchObject({ escrowed: 1, report: { problems: [] } });
  expect(hashOf(device)).toBe(before);
  await world.report(context);
  const { volumes } = await world.one.client.request<VolumeList>("GET", "/v1/volumes");
  expect(volumes).toMatchObject([{ id: "host1", volume: "data", proven: { version: 1 }, problems: [] }]);
  expect((await headers())[0]).toMatchObject({ version: 1, slots: [{ version: 1 }, { slot: 1, trusted: true }] });
  const bytes = await machine.host.readRange(device, 0, 1_081_344);
  if (bytes === undefined) throw new Error("no header");
  good = bytes;
});

test("a keyslot that somebody added by hand is told, and the header that has it does not replace the one in escrow", async () => {
  await addByHand(randomBytes(20), 2);
  const found = await checkVolume(context);
  expect(codesOf(found)).toEqual(["unknown-slot", "header-changed"]);
  expect(found).toMatchObject({ key: { kind: "opens" }, escrowed: 0 });
  expect(await headers()).toHaveLength(1);
});

test("a keyslot that was made anew under an old number is told as well", async () => {
  await machine.sh("cryptsetup", "luksKillSlot", "--batch-mode", device, "1");
  await context.lease(`secret:${KEY}`, "check", { device }, async ({ secret }) => {
    const stdin = Buffer.concat([secret.expose(), randomBytes(20)]);
    const sizes = ["--keyfile-size=32", "--new-keyfile=-", "--new-keyfile-size=20", "--new-key-slot=1"];
    await machine.host.run(["cryptsetup", "luksAddKey", "--key-file=-", ...sizes, ...KDF, device], { stdin });
  });
  expect(codesOf(await checkVolume(context))).toContain("unknown-slot");
});

test("the master's keyslot killed by hand: fatal, and a restore brings it back and proves it", async () => {
  await machine.sh("cryptsetup", "luksKillSlot", "--batch-mode", device, "0");
  const found = await checkVolume(context);
  expect(codesOf(found)).toEqual(expect.arrayContaining(["machine-slot-gone", "key-does-not-open", "slot-gone"]));
  expect(found.report.problems.some(({ fatal }) => fatal)).toBe(true);
  // the finding stays in every report until the header changes
  await world.report(context);
  const { volumes } = await world.one.client.request<VolumeList>("GET", "/v1/volumes");
  expect(volumes[0]?.problems.map(({ code }) => code)).toContain("key-does-not-open");

  const before = hashOf(device);
  const dry = await restoreHeader(context, { isDryRun: true, version: 1 });
  expect(dry).toMatchObject({ refusals: [], differences: ["keyslot 0 comes back: version 1 of the stored key"] });
  expect(hashOf(device)).toBe(before);
  const done = await restoreHeader(context, { isDryRun: false, version: 1 });
  expect(done).toMatchObject({ key: { kind: "opens", version: 1 } });
  expect(done.before).toBeGreaterThan(1);
  expect(codesOf(await checkVolume(context))).toEqual([]);
  expect(await restoreHeader(context, { isDryRun: false, version: 1 })).toMatchObject({ isDone: true });
});

test("a header that was overwritten, whole: the disk is proven by LVM, the restore brings it back", async () => {
  scribble(device, 0, Buffer.alloc(good.length, 0));
  const found = await checkVolume(context);
  expect(found.report).toMatchObject({ luksUuid: "", state: "not-provisioned" });
  const restored = await restoreHeader(context, { isDryRun: false, version: 1 });
  expect(restored).toMatchObject({ before: 0, key: { kind: "opens", version: 1 } });
  expect(restored.differences[0]).toBe("the header on the device is gone");
  // what was there before is not left on the minion's own disk once a key opens the header
  const { stateDir } = context.machine.config;
  expect(await machine.host.stat(`${stateDir}/volumes/data.header-before-restore`)).toBeUndefined();
});

test("a header overwritten while the volume is open comes back under it, and the volume goes on", async () => {
  await context.lease(`secret:${KEY}`, "open", { device }, async ({ secret }) => {
    const argv = ["cryptsetup", "open", "--key-file=-", "--keyfile-size=32", "--", device, mapping] as const;
    await machine.host.run(argv, { stdin: secret });
  });
  const before = hashOf(`/dev/mapper/${mapping}`);
  scribble(device, 0, randomBytes(good.length));
  const restored = await restoreHeader(context, { isDryRun: false, version: 1 });
  expect(restored.key).toMatchObject({ kind: "opens" });
  expect(hashOf(`/dev/mapper/${mapping}`)).toBe(before);
  await machine.sh("cryptsetup", "close", mapping);
});

test("a name that goes to another disk: that one's header neither goes into escrow nor is written over", async () => {
  const other = await machine.disk(24);
  const options = ["--type=luks2", "--batch-mode", "--luks2-keyslots-size=1m", "--key-file=-", ...KDF];
  await machine.shWith(human, "cryptsetup", "luksFormat", ...options, other);
  const target = (await machine.host.readLink(device)) ?? "";
  const lead = async (to: string) => {
    await machine.sh("ln", "--symbolic", "--force", "--no-target-directory", "--", to, device);
  };
  const swapping = (word: string): VolumeContext => {
    const on: VolumeContext = { ...context, host: atCommand(machine.host, [word], () => lead(other)), at: () => on };
    return on;
  };
  const [before, escrowed] = [hashOf(other), (await headers()).length];
  await machine.sh("cryptsetup", "config", "--label=swapped", device);
  await expect(escrowHeader(swapping("luksHeaderBackup"), "rotate")).rejects.toMatchObject({ code: "device-swapped" });
  await lead(target);
  expect(await headers()).toHaveLength(escrowed);
  scribble(device, 0, Buffer.alloc(good.length, 0));
  const restoring = restoreHeader(swapping("luksHeaderRestore"), { isDryRun: false, version: 1 });
  await expect(restoring).rejects.toMatchObject({ code: "device-swapped" });
  await lead(target);
  expect(hashOf(other)).toBe(before);
});

test("refused on another disk, on another LUKS volume, on a file system, and when the volume key is another one", async () => {
  const other = await machine.disk(24);
  const attempt = (changed: { readonly disk: string }) => {
    const wrong = world.context("data", { luks: { key: `secret:${KEY}`, name: mapping }, ...changed });
    return restoreHeader(wrong, { isDryRun: false, version: 1 });
  };
  const untouched = hashOf(other);
  await expect(attempt({ disk: other })).rejects.toMatchObject({ code: "restore-refused" });
  expect(hashOf(other)).toBe(untouched);

  await machine.sh("mkfs.ext4", "-q", other);
  await expect(attempt({ disk: other })).rejects.toThrow(/has a signature: ext4/u);
  await machine.sh("wipefs", "-qa", other);
  const key = randomBytes(8);
  const options = ["--type=luks2", "--batch-mode", "--luks2-keyslots-size=1m", "--key-file=-", ...KDF];
  await machine.shWith(key, "cryptsetup", "luksFormat", ...options, other);
  await expect(attempt({ disk: other })).rejects.toThrow(/is another LUKS volume/u);

  // the same UUID on the same disk, formatted anew: another volume key
  const uuid = (await machine.sh("cryptsetup", "luksUUID", device)).trim();
  await machine.shWith(key, "cryptsetup", "luksFormat", ...options, `--uuid=${uuid}`, device);
  await expect(restoreHeader(context, { isDryRun: false, version: 1 })).rejects.toThrow(/another volume key/u);
});

test("a header backup cut off at any step is made anew by the next check", async () => {
  for (const step of ["header:read", "header:sent", "header:stored"]) {
    await machine.sh("cryptsetup", "config", `--label=${step.replace(":", "-")}`, device);
    const cut: VolumeContext = {
      ...context,
      at: () => cut,
      reached: (reached) => {
        if (reached === step) throw new Error("killed");
      },
    };
    await expect(escrowHeader(cut, "rotate")).rejects.toThrow("killed");
    const checked = await checkVolume(context);
    expect(checked.report.problems).toEqual([]);
    expect((await headers())[0]).toMatchObject({ version: checked.escrowed, digest: checked.report.headerDigest });
  }
});
