import { existsSync } from "node:fs";
import { HostError } from "../src/core/errors.ts";
import { command } from "./command.ts";

/** What it takes to make a guest's kernel ready and to show that it works; the kernel itself is chosen in kernel.ts. */
const GUEST_KERNEL_PACKAGES = ["kmod", "patchelf", "cryptsetup-bin", "debian-archive-keyring"] as const;

/** What a lab host needs from this machine. */
export const LAB_PACKAGES = [...GUEST_KERNEL_PACKAGES, "age", "e2fsprogs", "iproute2", "mmdebstrap"] as const;

/** What the kernel tests need from this machine, whose root file system they use. */
export const KERNEL_PACKAGES = [
  ...GUEST_KERNEL_PACKAGES,
  "lvm2",
  "e2fsprogs",
  "xfsprogs",
  "btrfs-progs",
  "util-linux",
  "iproute2",
] as const;

/** Those of the named Debian packages that are not installed here. */
export async function missingPackages(names: readonly string[]): Promise<readonly string[]> {
  const { stdout } = await command(
    ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\\n", ...names],
    { okCodes: [0, 1] },
  );
  const installed = new Set(
    stdout.split("\n").flatMap((line) => (line.startsWith("installed ") ? [line.slice(10)] : [])),
  );
  return names.filter((name) => !installed.has(name));
}

/**
 * Installs what is missing of the named Debian packages, with a line about it through `say`. Throws HostError
 * `packages-missing` with the exact command to run where that cannot be done here (not root, not Debian, no mirror).
 */
export async function ensurePackages(
  names: readonly string[],
  say: (line: string) => void = (line) => console.error(line),
): Promise<void> {
  if (!existsSync("/usr/bin/dpkg-query")) {
    throw new HostError("packages-missing", "cannot tell which packages are installed: this is no Debian system", {
      hint: `install what these Debian packages hold: ${names.join(" ")}`,
    });
  }
  const missing = await missingPackages(names);
  if (missing.length === 0) return;
  const byHand = { hint: `as root: apt-get update && apt-get install -y ${missing.join(" ")}` };
  if (process.getuid?.() !== 0) {
    throw new HostError(
      "packages-missing",
      `cannot install Debian packages without root: ${missing.join(" ")}`,
      byHand,
    );
  }
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const lock = "DPkg::Lock::Timeout=300";
  // one source of many that cannot be reached is no reason to stop: the installation itself says what is missing
  say("apt-get reads which packages there are");
  await command(["apt-get", "-qq", "-o", lock, "update"], { env, timeoutMs: 300_000, okCodes: [0, 100] });
  say(`installing Debian packages: ${missing.join(" ")}`);
  try {
    const install = ["apt-get", "-qq", "-y", "-o", lock, "install", "--no-install-recommends", ...missing] as const;
    await command([...install], { env, timeoutMs: 900_000 });
  } catch (error) {
    throw new HostError("packages-missing", `cannot install Debian packages: ${missing.join(" ")}`, {
      cause: error,
      ...byHand,
    });
  }
}
