import { beforeEach, expect, test } from "vitest";
import { destroy } from "../../../../src/states/volume/destroy.ts";
import { parseVolume } from "../../../../src/states/volume/spec.ts";
import { stackContext } from "../../../../src/states/volume/stack-context.ts";
import { type FakeContext, fakeContext } from "../../../fakes/apply-context.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";

const FILE = "/var/v.img";
const LOOP = "/dev/loop0";
const volume = parseVolume("vault", { loop: { file: FILE }, luks: { key: "secret:k" }, fs: { type: "ext4" } });
let host: FakeHost;
let context: FakeContext;

/** A loop device on the file, and what is on it. */
function attach(bytes: Buffer): void {
  host
    .file(FILE, bytes)
    .file(LOOP, bytes, { kind: "block", rdev: "7:0" })
    .file("/sys/devices/virtual/block/loop0/size", "2048\n")
    .file("/sys/devices/virtual/block/loop0/loop/backing_file", `${FILE}\n`)
    .link("/sys/dev/block/7:0", "/sys/devices/virtual/block/loop0")
    .link("/sys/class/block/loop0", "/sys/devices/virtual/block/loop0")
    .on(["losetup", "--detach", LOOP], () => {
      void host.remove("/sys/class/block/loop0");
      return {};
    })
    .on(["blkid", "-p", "-o", "export", "--", LOOP], { exitCode: 2 })
    .on(["wipefs", "--no-act", "--parsable", "--", LOOP]);
}

function ext4(): Buffer {
  const bytes = Buffer.alloc(1024 * 1024);
  bytes.writeUInt16LE(0xef53, 1024 + 0x38);
  bytes.fill(0x11, 1024 + 0x68, 1024 + 0x78);
  return bytes;
}

const remove = (force: boolean) => destroy(stackContext(context, volume), { killHolders: false, force });

beforeEach(() => {
  host = new FakeHost();
  context = fakeContext(host);
});

test("I2: a loop file with another's file system in it is not deleted, unless that is forced", async () => {
  attach(ext4());
  await expect(remove(false)).rejects.toMatchObject({
    code: "wrong-device",
    message: expect.stringContaining(`"${FILE}" has a file system: ext`) as string,
  });
  expect((await host.readFile(FILE))?.equals(ext4())).toBe(true);
  expect([...context.journal.keys()]).toEqual([]);
  expect(await remove(true)).toEqual({ "loop file": { old: FILE, new: "removed" } });
  expect(await host.stat(FILE)).toBeUndefined();
});

test("a blank loop file goes", async () => {
  attach(Buffer.alloc(1024 * 1024));
  expect(await remove(false)).toEqual({ "loop file": { old: FILE, new: "removed" } });
});
