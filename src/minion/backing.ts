import type { Clock } from "../core/clock.ts";
import { AuthError, ConfigError } from "../core/errors.ts";
import type { Host } from "../core/host.ts";
import type { Identity } from "../core/identity.ts";
import { hash } from "node:crypto";
import type { JsonObject } from "../core/json.ts";
import type { Logger } from "../core/log.ts";
import { isRelativePath, openRoots } from "../sls/file-roots.ts";
import { createFileClient, type FileClient, sourcePath } from "./files.ts";
import { createLeases, type LeaseOptions, type Leases } from "./lease.ts";
import type { Link, Patience } from "./link.ts";
import { fetchPillar } from "./pillar.ts";

/** Where a run gets its pillar, files and keys from. */
export interface Backing {
  pillar(patience: Patience): Promise<JsonObject>;
  files(patience: Patience): FileClient;
  leases(patience: Patience): Leases;
  /** What else goes to the master; undefined without one. */
  readonly master: MasterSide | undefined;
}

/** The session with the master, and who speaks on it. */
export interface MasterSide {
  readonly link: Link;
  readonly identity: Identity;
  readonly bootId: string;
}

/** What a master's backing needs. */
export interface MasterBackingOptions {
  readonly host: Host;
  readonly link: Link;
  readonly identity: Identity;
  readonly bootId: string;
  readonly cacheDir: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly onLostReceipt: LeaseOptions["onLostReceipt"];
}

/** Everything from the master, over the session. */
export function masterBacking(options: MasterBackingOptions): Backing {
  const { host, link, cacheDir } = options;
  return {
    pillar: async (patience) => fetchPillar(link, patience),
    files: (patience) => createFileClient(host, link, cacheDir, patience, options.log),
    leases: ({ waitMs, signal, onWait }) =>
      createLeases({ ...options, waitMs, signal, onWait: (reason) => onWait?.(reason) }),
    master: { link, identity: options.identity, bootId: options.bootId },
  };
}

/** Compiles pillar from directories of this machine; handed in by the composition root. */
export type CompileLocalPillar = (
  roots: readonly string[],
  subject: { readonly id: string; readonly grains: JsonObject },
) => Promise<JsonObject>;

/** Everything from directories of this machine, without a master: no secret can be leased. */
export function localBacking(options: {
  readonly fileRoots: readonly string[];
  readonly pillar: () => Promise<JsonObject>;
}): Backing {
  const roots = openRoots(options.fileRoots);
  const files: FileClient = {
    roots: options.fileRoots.join(", "),
    paths: async () => (await roots.list()).map(({ path }) => path),
    read: async (path) => (isRelativePath(path) ? roots.read(path) : undefined),
    source: async (url) => {
      const bytes = await roots.read(sourcePath(url));
      return bytes === undefined ? undefined : { data: Buffer.from(bytes), sha256: hash("sha256", bytes) };
    },
    prune: async () => {},
  };
  const refuse: Leases["lease"] = async (ref) => {
    if (!ref.startsWith("secret:")) throw new ConfigError("bad-secret-ref", "cannot lease a key: not a secret");
    throw new AuthError("no-master", `cannot lease "${ref}" without a master`, { hint: "run it without --local" });
  };
  return {
    pillar: options.pillar,
    files: () => files,
    leases: () => ({ lease: refuse, mounted: () => {}, records: () => [], settle: async () => {} }),
    master: undefined,
  };
}
