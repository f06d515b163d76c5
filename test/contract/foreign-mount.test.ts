import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { holdPath } from "../../src/core/hold-path.ts";
import { scratch } from "./master/rig.ts";

const NOBODY = 65_534;
const SERVER = join(import.meta.dirname, "fuse-server.ts");
const canMount =
  process.getuid?.() === 0 && existsSync("/dev/fuse") && spawnSync("unshare", ["--mount", "true"]).status === 0;
if (!canMount) console.warn("SKIPPED: file systems in user space: they want root who may mount, and /dev/fuse");

let place: ReturnType<typeof scratch>;
let server: ChildProcess | undefined;
let mounted: string | undefined;

beforeEach(() => {
  place = scratch();
});
afterEach(async () => {
  if (mounted !== undefined) spawnSync("umount", ["--lazy", "--", mounted]);
  mounted = undefined;
  if (server?.exitCode === null && server.kill()) await once(server, "exit");
  server = undefined;
  place.remove();
});

/** What a user gets with fusermount(1) where `user_allow_other` is set; every name in it is a directory that is called root's. */
function mountOf(user: number, path: string): void {
  mkdirSync(path, { recursive: true });
  const device = openSync("/dev/fuse", "r+");
  try {
    const options = `fd=3,rootmode=40000,user_id=${user},group_id=${user},allow_other`;
    const stdio = ["ignore", "pipe", "pipe", device] as const;
    const { status, stderr } = spawnSync("mount", ["-i", "-t", "fuse", "-o", options, "theirs", path], {
      stdio: [...stdio],
    });
    if (status !== 0) throw new Error(stderr.toString());
    mounted = path;
    server = spawn(process.execPath, [SERVER], { stdio: ["ignore", "inherit", "inherit", device] });
  } finally {
    closeSync(device);
  }
}

describe.skipIf(!canMount)("a file system that a user's program serves", () => {
  test.each([
    ["where root alone may write", 0o755],
    ["in a directory with the sticky bit", 0o1777],
  ])("is theirs %s, although it says that all in it is root's", (_, mode) => {
    const path = join(place.directory, "room/mnt");
    mkdirSync(join(place.directory, "room"));
    chmodSync(join(place.directory, "room"), mode);
    mountOf(NOBODY, path);
    expect(() => holdPath(join(path, "conf/file"))).toThrow(
      expect.objectContaining({
        code: "unsafe-path",
        facts: expect.objectContaining({ reason: `"${path}" is a file system (FUSE) of user "nobody"` }) as object,
      }),
    );
    using held = holdPath(join(path, "conf/file"), { allowUnsafePath: true });
    expect(held?.unsafe).toContain("is a file system (FUSE)");
  });

  test("is as any other when root serves it", () => {
    const path = join(place.directory, "mnt");
    mountOf(0, path);
    using held = holdPath(join(path, "conf/file"));
    expect([held?.unsafe, held?.found?.kind]).toEqual(["", "directory"]);
  });
});
