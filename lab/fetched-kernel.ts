import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorMessage, HostError } from "../src/core/errors.ts";
import { cached } from "./cached.ts";
import { command } from "./command.ts";
import { machineMirror } from "./debian-mirror.ts";
import { type KernelFiles, PACKAGE_PATHS, takeModules } from "./kernel-files.ts";
import { withLock } from "./lock.ts";
import { cacheDirectory } from "./place.ts";

/** The Debian release whose User-Mode Linux knows seccomp, and what of it is taken: with the C library that it wants. */
const SUITE = "forky";
const PACKAGES = ["user-mode-linux", "libc6"] as const;
const LIBRARIES = "usr/lib/x86_64-linux-gnu";

/** For how long the answer of the mirror holds: what it had, and that it could not be asked. */
const LOOK_AGAIN_MS = 14 * 86_400_000;
const TRY_AGAIN_MS = 3_600_000;

/** What the last look at the mirror came to. */
type Looked = { readonly key: string } | { readonly failed: string };

/**
 * The kernel of a later Debian release than this machine's, from the mirror that the machine has its own packages from;
 * nothing of it is installed. Kept in the cache; the mirror is asked again after some days. Throws when it cannot be had.
 */
export async function fetchedKernel(say: (line: string) => void): Promise<KernelFiles> {
  const lock = join(cacheDirectory(), "apt.lock");
  const looked = freshLook() ?? (await withLock(lock, async () => freshLook() ?? (await look(say))));
  if ("failed" in looked) throw new HostError("no-fast-kernel", looked.failed);
  const modules = pathOf(looked.key);
  const [release = ""] = readdirSync(join(modules, "lib/modules"));
  return { release, binary: join(modules, "linux"), modules };
}

const pathOf = (key: string): string => join(cacheDirectory(), `kernel-${key}`);
const notePath = (): string => join(cacheDirectory(), "apt.looked");

/** What the last look came to, unless the kernel that it found is gone or was made in another way. */
function lastLook(): Looked | undefined {
  if (!existsSync(notePath())) return undefined;
  const looked = JSON.parse(readFileSync(notePath(), "utf8")) as Looked;
  return "failed" in looked || (looked.key.endsWith(recipe()) && existsSync(pathOf(looked.key))) ? looked : undefined;
}

function freshLook(): Looked | undefined {
  const looked = lastLook();
  if (looked === undefined) return undefined;
  const age = Date.now() - statSync(notePath()).mtimeMs;
  return age < ("failed" in looked ? TRY_AGAIN_MS : LOOK_AGAIN_MS) ? looked : undefined;
}

/** Asks the mirror, and makes what it has ready to run; where it does not answer, the kernel of the last time stays. */
async function look(say: (line: string) => void): Promise<Looked> {
  const apt = join(cacheDirectory(), "apt-work");
  let looked: Looked;
  try {
    rmSync(apt, { recursive: true, force: true });
    looked = { key: await fetchInto(apt, say) };
  } catch (error) {
    looked = lastLook() ?? { failed: reasonOf(error) };
  } finally {
    rmSync(apt, { recursive: true, force: true });
  }
  writeFileSync(`${notePath()}.new`, JSON.stringify(looked));
  renameSync(`${notePath()}.new`, notePath());
  return looked;
}

/** What apt complained about, or else the error's first line. */
function reasonOf(error: unknown): string {
  const lines = errorMessage(error).split("\n");
  return lines.find((line) => line.startsWith("E: "))?.slice(3) ?? lines[0] ?? "";
}

/** A short word for the way in which this file makes a kernel: another word, another directory in the cache. */
const recipe = (): string =>
  createHash("sha256")
    .update(readFileSync(import.meta.filename))
    .digest("hex")
    .slice(0, 8);

/** Fetches with an apt whose lists and caches are all in the directory; returns the key in the cache of what was made. */
async function fetchInto(apt: string, say: (line: string) => void): Promise<string> {
  const mirror = machineMirror();
  if (mirror === undefined)
    throw new HostError("no-mirror", "apt on this machine names no mirror of its Debian release");
  for (const path of ["sources", "lists/partial", "cache/archives/partial", "packages"]) {
    mkdirSync(join(apt, path), { recursive: true });
  }
  const signedBy = mirror.signedBy === undefined ? "" : `Signed-By: ${mirror.signedBy}\n`;
  writeFileSync(
    join(apt, "sources/fast-kernel.sources"),
    `Types: deb\nURIs: ${mirror.uris}\nSuites: ${SUITE}\nComponents: main\n${signedBy}`,
  );
  const run = aptGet(apt);
  say(`apt-get reads which kernel Debian ${SUITE} has`);
  await run("update");
  const names = PACKAGES.map((name) => `${name}/${SUITE}`);
  const offered = await run("download", "--print-uris", ...names);
  const versions = PACKAGES.map((name) => new RegExp(`\\b${name}_(\\S+)_amd64\\.deb`, "u").exec(offered)?.[1]);
  if (versions.includes(undefined)) throw new HostError("no-package", `the mirror has no ${PACKAGES.join(" and ")}`);
  const key = `${versions.join("-").replaceAll(/[^\w.+-]/gu, "_")}-${recipe()}`;
  await cached("kernel", key, async (work) => {
    say(`fetching User-Mode Linux ${versions[0]}`);
    await run("download", ...names);
    await assemble(join(apt, "packages"), work, pathOf(key));
    return work;
  });
  return key;
}

/** Runs apt-get with nothing of this machine's apt but its settings (a proxy, say); resolves with what it printed. */
function aptGet(apt: string): (...args: readonly string[]) => Promise<string> {
  const settings = {
    "Dir::Etc::SourceList": "/dev/null",
    "Dir::Etc::SourceParts": join(apt, "sources"),
    "Dir::Etc::Preferences": "/dev/null",
    "Dir::Etc::PreferencesParts": "/dev/null",
    "Dir::State::Lists": join(apt, "lists"),
    "Dir::Cache": join(apt, "cache"),
    "Acquire::Languages": "none",
    "Acquire::Retries": "1",
    "Acquire::http::Timeout": "20",
    "APT::Update::Error-Mode": "any",
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  return async (...args) => {
    const argv = ["apt-get", "-q", ...options, ...args] as const;
    return (await command([...argv], { cwd: join(apt, "packages"), timeoutMs: 300_000 })).stdout;
  };
}

/**
 * Makes of the packages a directory that will stand at `path`: the kernel, with the C library beside it that it starts
 * with (by its own loader, since it starts itself anew), and its modules.
 */
async function assemble(packages: string, work: string, path: string): Promise<void> {
  const unpacked = join(packages, "unpacked");
  for (const name of readdirSync(packages)) await command(["dpkg", "-x", join(packages, name), unpacked]);
  await command(["cp", "-a", join(unpacked, LIBRARIES), join(work, "libraries")]);
  await command(["cp", join(unpacked, PACKAGE_PATHS.binary), join(work, "linux")]);
  const [loader, libraries] = [join(path, "libraries/ld-linux-x86-64.so.2"), join(path, "libraries")];
  await command(["patchelf", "--set-interpreter", loader, "--set-rpath", libraries, join(work, "linux")]);
  await takeModules(unpacked, work);
}
