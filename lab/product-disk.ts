import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { command } from "./command.ts";
import { withLock } from "./lock.ts";
import { cacheDirectory, NODE_TIME, PROJECT } from "./place.ts";

/** Where a host has the product. */
export const PRODUCT = "/opt/latchkey";

/** What of the installed packages the bundle needs beside it: the native ZeroMQ addon and what loads it. */
const PACKAGE_FILES = [
  "zeromq/package.json",
  "zeromq/lib",
  "zeromq/build/manifest.json",
  `zeromq/build/${process.platform}/${process.arch}`,
  "cmake-ts/package.json",
  "cmake-ts/build/loader.js",
  "cmake-ts/build/loader.mjs",
] as const;

/** Builds dist/latchkey.mjs unless it is newer than every source. */
export async function ensureBundle(say: (line: string) => void): Promise<void> {
  await withLock(join(cacheDirectory(), "bundle.lock"), async () => {
    const bundle = join(PROJECT, "dist/latchkey.mjs");
    const inputs = readdirSync(join(PROJECT, "src"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => join(PROJECT, "src", name));
    const newest = Math.max(...[...inputs, join(PROJECT, "build.ts")].map((path) => statSync(path).mtimeMs));
    if (existsSync(bundle) && statSync(bundle).mtimeMs > newest) return;
    say("building the bundle");
    await command([process.execPath, "build.ts"], { cwd: PROJECT });
  });
}

/**
 * Makes an image of the product as it stands now, as it is installed on a host (bundle, addon, units, the host's own Node
 * linked), in `directory`, and returns its path. Hosts mount it read-only, so that a change of code costs no new root
 * file system.
 */
export async function makeProductDisk(directory: string, say: (line: string) => void): Promise<string> {
  await ensureBundle(say);
  const tree = join(directory, "product");
  const image = join(directory, "product.ext4");
  for (const path of ["bin", "dist", "node_modules/.bin"]) mkdirSync(join(tree, path), { recursive: true });
  for (const name of readdirSync(join(PROJECT, "dist")).filter((file) => /\.(?:[cm]js|blob)$/u.test(file))) {
    cpSync(join(PROJECT, "dist", name), join(tree, "dist", name), { preserveTimestamps: true });
    if (name.endsWith(".blob")) utimesSync(join(tree, "dist", name), NODE_TIME, NODE_TIME);
  }
  cpSync(join(PROJECT, "bin/latchkey"), join(tree, "bin/latchkey"));
  cpSync(join(PROJECT, "package.json"), join(tree, "package.json"));
  cpSync(join(PROJECT, "systemd"), join(tree, "systemd"), { recursive: true });
  for (const path of PACKAGE_FILES) {
    cpSync(join(PROJECT, "node_modules", path), join(tree, "node_modules", path), { recursive: true });
  }
  symlinkSync("/usr/local/bin/node", join(tree, "node_modules/.bin/node"));
  await command(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, image, "64M"]);
  rmSync(tree, { recursive: true });
  return image;
}
