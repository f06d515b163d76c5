import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LeaseList } from "../../src/core/control-api.ts";
import { HostError } from "../../src/core/errors.ts";
import type { Host } from "../../src/core/host.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { findMapping } from "../../src/states/devices/block-device.ts";
import { bringUp } from "../../src/states/volume/bring-up.ts";
import { takeDown } from "../../src/states/volume/take-down.ts";
import { setAt } from "../fakes/luks-metadata.ts";
import { type Copies, doctored, putHeader, takeHeader } from "./support/doctored-header.ts";
import { Fleet } from "./support/fleet.ts";
import { hashOf, Machine } from "./support/machine.ts";
import { StateRun } from "./support/state-run.ts";

const CONTENT = "row 1";
const machine = new Machine();
const directory = mkdtempSync(join(tmpdir(), "latchkey-header-"));
/** What happens between the lease and cryptsetup: nothing, or what a disk that lies does. */
let beforeOpen: () => void = () => {};
const host: Host = {
  ...machine.host,
  run: async (argv, options) => {
    if (argv[0] === "systemctl") return machine.host.run(["true"]);
    if (argv[0] === "cryptsetup" && argv[1] === "open" && !argv.includes("--test-passphrase")) beforeOpen();
    return machine.host.run(argv, options);
  },
};
const fleet = new Fleet(directory, host);
const point = join(machine.directory, "data");
const mapping = machine.name("data");
let disk: string;
let good: Buffer;

const withVolume = async <T>(use: (context: Parameters<typeof bringUp>[0]) => Promise<T>): Promise<T> =>
  fleet.withJob("test", async ({ context, settle }) => {
    const [spec] = await context.volumes.select(["data"]);
    if (spec === undefined) throw new Error("no volume");
    const result = await use(await context.volumes.context(spec));
    await settle();
    return result;
  });
const up = async (mayFormat: boolean) => withVolume(async (context) => bringUp(context, { mayFormat }));
const down = async () => withVolume(async (context) => takeDown(context, { killHolders: false }));
const leased = async () => {
  const { client } = await fleet.master();
  const { leases } = await client.request<LeaseList>("GET", "/v1/leases");
  return leases.filter(({ verdict }) => verdict === "allow").length;
};
const refusal = async (act: Promise<unknown>) =>
  act.then(
    () => "went through",
    (error: unknown) => String(error),
  );

beforeAll(async () => {
  disk = await machine.disk(40);
  fleet.pillar(
    `volumes:\n  data:\n    disk: ${disk}\n    luks: { key: !generate , name: ${mapping} }\n    fs: { type: ext4 }\n    mount: { point: ${point} }\n`,
  );
  await up(true);
  writeFileSync(join(point, "precious"), CONTENT);
  await down();
  good = takeHeader(disk);
});
afterAll(async () => {
  await fleet.stopMaster();
  await machine.dispose();
  rmSync(directory, { recursive: true, force: true });
});

const segment = (more: JsonObject = {}): JsonObject => ({
  type: "crypt",
  offset: "2097152",
  size: "dynamic",
  iv_tweak: "0",
  encryption: "aes-xts-plain64",
  sector_size: 512,
  ...more,
});

describe("a header that was changed while the disk was in other hands: no key is leased, nothing is written, the data stays", () => {
  test.each<[what: string, place: string, value: unknown, copies?: Copies]>([
    ["the data in plain", "segments.0.encryption", "cipher_null-ecb"],
    ["a cipher that nobody knows", "segments.0.encryption", "rot13-xts-plain64"],
    ["the other copy alone in plain", "segments.0.encryption", "cipher_null-ecb", "second"],
    ["another cipher that encrypts", "segments.0.encryption", "serpent-xts-plain64"],
    ["a segment that is not encrypted", "segments.0", { type: "linear", offset: "2097152", size: "dynamic" }],
    ["data elsewhere", "segments.0.offset", "4194304"],
    ["data in the header's place", "segments.0.offset", "32768"],
    ["a shorter segment", "segments.0.size", "16777216"],
    ["another sector size", "segments.0.sector_size", 1024],
    ["another IV", "segments.0.iv_tweak", "8"],
    [
      "integrity that was not",
      "segments.0.integrity",
      { type: "hmac(sha256)", journal_encryption: "none", journal_integrity: "none" },
    ],
    ["a second segment", "segments.1", segment({ offset: "20971520" })],
    ["a keyslot in plain", "keyslots.0.area.encryption", "cipher_null-ecb"],
    ["a key derivation without an end", "keyslots.0.kdf.iterations", 4_000_000_000],
    ["a weaker key derivation", "keyslots.0.kdf.iterations", 999],
    ["a digest of another kind", "digests.0.hash", "sha1"],
    ["a digest of another key", "digests.0.digest", Buffer.alloc(32, 1).toString("base64")],
    ["a digest of no segment", "digests.0.segments", []],
    ["flags that stay", "config.flags", ["allow-discards"]],
    ["a re-encryption that nobody began", "config.requirements", { mandatory: ["online-reencrypt-v2"] }],
    ["a smaller area of keyslots", "config.keyslots_size", "524288"],
  ])("%s (%s)", async (_what, place, value, copies = "both") => {
    putHeader(
      disk,
      doctored(good, (metadata) => setAt(metadata, place, value), copies),
    );
    const [before, count] = [hashOf(disk), await leased()];
    for (const mayFormat of [false, true]) {
      const why = await refusal(up(mayFormat));
      expect(why).toContain(place.split(".").slice(0, 2).join("."));
    }
    expect(
      await refusal(
        withVolume(async (context) =>
          context.lease("secret:volumes:data:luks:key", "check", { device: disk }, async () => {}),
        ),
      ),
    ).toContain(place.split(".").slice(0, 2).join("."));
    expect(await leased()).toBe(count);
    expect(await findMapping(machine.host, mapping)).toBeUndefined();
    expect(hashOf(disk)).toBe(before);
  });

  test("and with the header that was there it comes up as it was", async () => {
    putHeader(disk, good);
    await up(false);
    expect(readFileSync(join(point, "precious"), "utf8")).toBe(CONTENT);
    await down();
  });
});

describe("a header that the master's record does not help against", () => {
  test("what the kernel has is not what the header says: closed again before anything uses it, and nothing is written", async () => {
    putHeader(disk, good);
    beforeOpen = () =>
      putHeader(
        disk,
        doctored(good, (metadata) => setAt(metadata, "segments.0.encryption", "cipher_null-ecb")),
      );
    try {
      await expect(up(true)).rejects.toMatchObject({ code: "mapping-differs" });
    } finally {
      beforeOpen = () => {};
    }
    expect(await findMapping(machine.host, mapping)).toBeUndefined();
    putHeader(disk, good);
    await up(false);
    expect(readFileSync(join(point, "precious"), "utf8")).toBe(CONTENT);
    await down();
  });

  test("I2: what reads as nothing in a mapping that this machine did not just make is not blank, for any layer", async () => {
    const key = { bytes: Buffer.from("a key of the test, of its own"), generated: true };
    const run = new StateRun(machine.host, machine.makeDirectory("elsewhere"), { "secret:k": key });
    const other = await machine.disk(24);
    const name = machine.name("other");
    const argv = [
      "--batch-mode",
      "--type=luks2",
      "--pbkdf=pbkdf2",
      "--pbkdf-force-iterations=1000",
      "--key-file=-",
    ] as const;
    await machine.shWith(key.bytes, "cryptsetup", "luksFormat", ...argv, other);
    await machine.shWith(key.bytes, "cryptsetup", "open", "--key-file=-", other, name);
    const path = `/dev/mapper/${name}`;
    const before = hashOf(other);
    for (const [state, params] of [
      ["fs.formatted", { name: path, fstype: "ext4" }],
      ["lvm.pv_present", { name: path }],
      ["luks.formatted", { name: path, key: "secret:k" }],
    ] as const) {
      await expect(run.apply(state, params)).rejects.toMatchObject({ code: "unknown-content" });
    }
    expect(hashOf(other)).toBe(before);
    expect(run.leases).toEqual([]);
    await machine.sh("cryptsetup", "close", name);
  });

  test("LUKS1 gets no key", async () => {
    const key = { bytes: Buffer.from("a key of the test, of its own"), generated: true };
    const run = new StateRun(machine.host, machine.makeDirectory("luks1"), { "secret:k": key });
    const old = await machine.disk(24);
    await machine.shWith(
      key.bytes,
      "cryptsetup",
      "luksFormat",
      "--batch-mode",
      "--type=luks1",
      "--pbkdf-force-iterations=1000",
      "--key-file=-",
      old,
    );
    const opened = run.apply("luks.opened", { name: machine.name("old"), device: old, key: "secret:k" });
    await expect(opened).rejects.toThrow(HostError);
    await expect(opened).rejects.toMatchObject({ code: "unsafe-header" });
    expect(run.leases).toEqual([]);
  });
});
