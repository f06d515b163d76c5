import { chmodSync, copyFileSync, mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cached } from "./cached.ts";
import { command } from "./command.ts";
import {
  DISABLED_UNITS,
  ENABLED_UNITS,
  GUEST_DIRECTORIES,
  GUEST_FILES,
  GUEST_PACKAGES,
  GUEST_SOURCES,
  LEFT_OUT,
  MASKED_UNITS,
  recipeHash,
  RELEASE,
  ROOT_DISK_SIZE,
} from "./image-recipe.ts";
import type { LabKernel } from "./kernel.ts";
import { NODE_TIME, nodeBinary } from "./place.ts";

/**
 * The path of a lab host's root file system image for the kernel, made when there is none for the recipe as it stands (about
 * a minute; `say` tells), kept between runs. Never written to: hosts put a copy-on-write file over it.
 */
export async function ensureImage(kernel: LabKernel, say: (line: string) => void): Promise<string> {
  return cached("base", `${recipeHash(process.version, kernel.release)}.ext4`, async (work) => {
    say(`building the lab's root file system (Debian ${RELEASE}, once; about a minute)`);
    return build(work, kernel, say);
  });
}

/** Makes the image in the directory `work`; resolves with its path. */
async function build(work: string, kernel: LabKernel, say: (line: string) => void): Promise<string> {
  const root = join(work, "root");
  say(`mmdebstrap fetches and unpacks Debian ${RELEASE} with ${GUEST_PACKAGES.length} packages`);
  await command(
    [
      "mmdebstrap",
      "--quiet",
      "--variant=minbase",
      "--format=directory",
      `--include=${GUEST_PACKAGES.join(",")}`,
      ...LEFT_OUT.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
      RELEASE,
      root,
    ],
    { timeoutMs: 900_000 },
  );
  say("kernel modules, Node and units go into the root file system");
  await furnish(root, kernel);
  say(`mke2fs writes the image of ${ROOT_DISK_SIZE}`);
  const disk = join(work, "root.ext4");
  await command(["mke2fs", "-q", "-t", "ext4", "-d", root, "-L", "lab-root", disk, ROOT_DISK_SIZE], {
    timeoutMs: 300_000,
  });
  return disk;
}

/** Turns a bare Debian tree into a lab host: kernel modules, Node, units on and off, the lab's own files. */
async function furnish(root: string, kernel: LabKernel): Promise<void> {
  await command(["mkdir", "-p", join(root, "lib/modules")]);
  await command(["cp", "-a", join(kernel.modules, "lib/modules", kernel.release), join(root, "lib/modules/")]);
  const node = join(root, "usr/local/bin/node");
  copyFileSync(nodeBinary(), node);
  chmodSync(node, 0o755);
  utimesSync(node, NODE_TIME, NODE_TIME);
  for (const path of GUEST_DIRECTORIES) mkdirSync(join(root, path), { recursive: true });
  for (const { source, target, mode } of GUEST_FILES) {
    mkdirSync(dirname(join(root, target)), { recursive: true });
    copyFileSync(join(GUEST_SOURCES, source), join(root, target));
    chmodSync(join(root, target), mode);
  }
  for (const unit of MASKED_UNITS) {
    rmSync(join(root, "etc/systemd/system", unit), { force: true });
    symlinkSync("/dev/null", join(root, "etc/systemd/system", unit));
  }
  await command(["chroot", root, "systemctl", "--quiet", "disable", ...DISABLED_UNITS]);
  await command(["chroot", root, "systemctl", "--quiet", "enable", ...ENABLED_UNITS]);
  // an empty file lets the first boot choose an identity of its own
  writeFileSync(join(root, "etc/machine-id"), "");
}
