import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import type { Secret } from "../../core/secret.ts";
import { withKeyFile } from "../key-file.ts";

const HEADER_BYTES = 32 * 1024 * 1024;
const CHEAP_KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
const FORMAT = ["--batch-mode", "--type", "luks2", "--luks2-keyslots-size", "1M", ...CHEAP_KDF, "--key-file=-"];

/** What a canary went through, for people. */
export interface Channel {
  readonly pipe: string;
  readonly keyFile: string;
}

/**
 * Takes a secret the way of a real key: through a pipe into cryptsetup, which makes and opens a LUKS header in a scratch
 * file in memory, and through a key file. A machine without cryptsetup takes a plain reader in its place.
 */
export async function passThrough(
  host: Host,
  secret: Secret,
  keyFileDirectories: readonly [string, ...string[]],
  signal: AbortSignal,
): Promise<Channel> {
  const scratch = mkdtempSync("/dev/shm/latchkey-leakcheck-");
  const header = join(scratch, "header");
  try {
    const file = openSync(header, "wx", 0o600);
    ftruncateSync(file, HEADER_BYTES);
    closeSync(file);
    const pipe = await throughPipe(host, secret, header, signal);
    const keyFile = await throughKeyFile(host, secret, keyFileDirectories, pipe === "cryptsetup" ? header : "", signal);
    return { pipe, keyFile };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function throughPipe(host: Host, secret: Secret, header: string, signal: AbortSignal): Promise<string> {
  try {
    await host.run(["cryptsetup", "luksFormat", ...FORMAT, "--", header], { stdin: secret, signal });
    await host.run(["cryptsetup", "open", "--test-passphrase", "--key-file=-", "--", header], {
      stdin: secret,
      signal,
    });
    return "cryptsetup";
  } catch (thrown) {
    if (!(thrown instanceof HostError) || signal.aborted) throw thrown;
    await host.run(["cksum"], { stdin: secret, signal });
    const why = thrown.code === "command-missing" ? "no cryptsetup here" : thrown.message;
    return `a plain reader (${why})`;
  }
}

async function throughKeyFile(
  host: Host,
  secret: Secret,
  directories: readonly [string, ...string[]],
  header: string,
  signal: AbortSignal,
): Promise<string> {
  try {
    return await withKeyFile(directories, secret, async (path) => {
      const open = ["--test-passphrase", "--key-file", path, "--", header];
      await host.run(header === "" ? ["cksum", path] : ["cryptsetup", "open", ...open], { signal });
      return path.slice(0, path.lastIndexOf("/"));
    });
  } catch (thrown) {
    if (thrown instanceof HostError && thrown.code === "no-tmpfs") return "not tried: no tmpfs";
    throw thrown;
  }
}
