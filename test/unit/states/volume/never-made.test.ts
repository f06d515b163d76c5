import { beforeEach, expect, test } from "vitest";
import { bringUp } from "../../../../src/states/volume/bring-up.ts";
import { destroy } from "../../../../src/states/volume/destroy.ts";
import { assertNeverMade } from "../../../../src/states/volume/identity.ts";
import { parseVolume } from "../../../../src/states/volume/spec.ts";
import { stackContext } from "../../../../src/states/volume/stack-context.ts";
import { type FakeContext, fakeContext } from "../../../fakes/apply-context.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";

const UUID = "0f6e2c4a-9d1b-4a53-8f0e-0123456789ab";
const volume = parseVolume("data", { disk: "/dev/sdb", luks: { key: "secret:k" }, fs: { type: "ext4" } });
let escrowed: string;
let context: FakeContext;
let leased: string[];

beforeEach(() => {
  escrowed = UUID;
  leased = [];
  const host = new FakeHost()
    .file("/dev/sdb", Buffer.alloc(1024 * 1024), { kind: "block", rdev: "8:16" })
    .file("/sys/devices/sdb/size", "2048\n")
    .link("/sys/dev/block/8:16", "/sys/devices/sdb")
    .link("/sys/class/block/sdb", "/sys/devices/sdb")
    .on(["blkid", "-p", "-o", "export", "--", "/dev/sdb"], { exitCode: 2 })
    .on(["wipefs", "--no-act", "--parsable", "--", "/dev/sdb"]);
  context = fakeContext(host, {
    escrowedUuid: async () => escrowed,
    lease: async (ref, purpose) => {
      leased.push(`${ref} ${purpose}`);
      throw new Error("leased");
    },
  });
});
const provision = () => bringUp(stackContext(context, volume), { mayFormat: true });

test("I2: I3: a machine that lost its notes makes no volume of which the master has a header", async () => {
  await expect(provision()).rejects.toMatchObject({
    code: "known-elsewhere",
    message: expect.stringContaining(`LUKS UUID ${UUID}`) as string,
    hint: expect.stringContaining("volume header restore") as string,
  });
  expect(leased).toEqual([]);
});

test("without a header in escrow, and without a master, it is made", async () => {
  escrowed = "";
  await expect(provision()).rejects.toThrow("leased");
  Reflect.deleteProperty(context, "escrowedUuid");
  await expect(provision()).rejects.toThrow("leased");
  expect(leased).toEqual(["secret:k format", "secret:k format"]);
});

test("after it was unprovisioned it may be made anew, until it is known again", async () => {
  await destroy(stackContext(context, volume), { killHolders: false, force: false });
  await expect(provision()).rejects.toThrow("leased");
  context.journal.set("volume-identity:data", { luksUuid: UUID, fsUuid: "", bases: [] });
  await assertNeverMade(context, "data");
});
