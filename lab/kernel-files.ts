import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { cached } from "./cached.ts";
import { command } from "./command.ts";

/** A User-Mode Linux on this machine. */
export interface KernelFiles {
  /** What `uname -r` says in it, such as "7.2.7". */
  readonly release: string;
  readonly binary: string;
  /** The directory with its modules in lib/modules/<release>, for `modprobe -d`. */
  readonly modules: string;
}

/** Where Debian's package user-mode-linux has what it brings. */
export const PACKAGE_PATHS = { binary: "usr/bin/linux.uml", modules: "usr/lib/uml/modules" } as const;

/** The kernel of this machine's own package, which is installed already. */
export async function installedKernel(): Promise<KernelFiles> {
  const binary = join("/", PACKAGE_PATHS.binary);
  const release = (await command([binary, "--version"])).stdout.trim();
  const made = Math.round(statSync(binary).mtimeMs / 1000);
  const modules = await cached("kernel", `installed-${release}-${made}`, async (work) => {
    await takeModules("/", work);
    return work;
  });
  return { release, binary, modules };
}

/** Copies the modules of a package unpacked below `root` into lib/modules of `directory`, and lists them for modprobe(8). */
export async function takeModules(root: string, directory: string): Promise<void> {
  const to = join(directory, "lib/modules");
  await command(["mkdir", "-p", to]);
  for (const release of readdirSync(join(root, PACKAGE_PATHS.modules))) {
    await command(["cp", "-a", join(root, PACKAGE_PATHS.modules, release), to]);
    await command(["depmod", "-b", directory, release]);
  }
}
