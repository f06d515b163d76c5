import { copyFileSync, chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
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
  MODULES,
  recipeHash,
  RELEASE,
  ROOT_DISK_SIZE,
} from "./image-recipe.ts";
import { withLock } from "./lock.ts";
import { cacheDirectory, NODE_TIME, nodeBinary } from "./place.ts";

const KEPT_DAYS = 14;

/**
 * The path of a lab host's root file system image, made when there is none for the recipe as it stands (about a minute;
 * `say` tells), kept between runs. Never written to: hosts put a copy-on-write file over it. Two builders at once make it
 * once; a builder that dies leaves nothing that the next one takes for an image.
 */
export async function ensureImage(say: (line: string) => void): Promise<string> {
  const cache = cacheDirectory();
  const name = `base-${recipeHash(process.version)}.ext4`;
  const image = join(cache, name);
  if (!existsSync(image)) {
    await withLock(join(cache, "image.lock"), async () => {
      if (existsSync(image)) return;
      sweep(cache, name);
      say(`building the lab's root file system (Debian ${RELEASE}, once; about a minute)`);
      await build(cache, image, say);
    });
  }
  utimesSync(dirname(image), new Date(), new Date());
  return image;
}

/** Removes what dead builders left, and images of older recipes that nobody has made for a while. */
function sweep(cache: string, current: string): void {
  for (const entry of readdirSync(cache)) {
    const path = join(cache, entry);
    const old = Date.now() - statSync(path).mtimeMs > KEPT_DAYS * 86_400_000;
    if (entry.startsWith("building-") || (entry.startsWith("base-") && entry !== current && old)) {
      rmSync(path, { recursive: true, force: true });
    }
  }
}

async function build(cache: string, image: string, say: (line: string) => void): Promise<void> {
  const work = join(cache, `building-${process.pid}`);
  const root = join(work, "root");
  mkdirSync(work, { recursive: true });
  try {
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
    await furnish(root);
    say(`mke2fs writes the image of ${ROOT_DISK_SIZE}`);
    const disk = join(work, "root.ext4");
    await command(["mke2fs", "-q", "-t", "ext4", "-d", root, "-L", "lab-root", disk, ROOT_DISK_SIZE], {
      timeoutMs: 300_000,
    });
    renameSync(disk, image);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Turns a bare Debian tree into a lab host: kernel modules, Node, units on and off, the lab's own files. */
async function furnish(root: string): Promise<void> {
  mkdirSync(join(root, "lib/modules"), { recursive: true });
  for (const version of readdirSync(MODULES)) {
    await command(["cp", "-a", join(MODULES, version), join(root, "lib/modules/")]);
    await command(["depmod", "-b", root, version]);
  }
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
