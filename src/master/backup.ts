import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import type { BackupReport, BackupRequest } from "../core/backup-api.ts";
import { ConfigError, errorMessage, HostError } from "../core/errors.ts";
import type { Clock } from "../core/clock.ts";
import { assertKeepsOurs } from "../core/own-directory.ts";
import { ROOT } from "./audit/actor.ts";
import type { AuditLog } from "./audit/audit-log.ts";
import { decodeHead, HEAD } from "./audit/stored.ts";
import { fillFile } from "./store/copy-file.ts";
import { SqliteStore } from "./store/sqlite.ts";
import type { Store } from "./store/store.ts";

/** What a backup of the running master rests on. */
export interface BackupParts {
  readonly store: Store;
  readonly audit: Pick<AuditLog, "append">;
  readonly clock: Clock;
  readonly stateDir: string;
  readonly fingerprint: string;
  readonly recipients: readonly string[];
  /** What else a restored master needs, beside its state directory's identities. */
  readonly keepToo: readonly string[];
}

/**
 * Copies the store of the master that runs into one file that a master can start from: whole, as of one moment, while leases
 * go on; proven by reading it back before it takes its name. That it is made is on record first, and the record is in it.
 * Throws ConfigError `bad-file`, `file-exists`, `unsafe-directory` where another could put another file in its place, HostError `backup-failed` and as `AuditLog.append` does.
 */
export async function backUp(parts: BackupParts, { path, force }: BackupRequest): Promise<BackupReport> {
  const { store, audit, clock, stateDir, fingerprint, recipients, keepToo } = parts;
  await assertOutside(path, stateDir);
  assertKeepsOurs("the directory of a backup", dirname(path));
  const held = await fillFile(path, force ? "replace" : "refuse", async (temporary) => {
    const { seq } = await audit.append({
      at: clock.now(),
      kind: "store-backed-up",
      ...ROOT,
      subject: "",
      data: { path, force },
    });
    await store.copyTo(temporary);
    return contentOf(temporary, seq);
  });
  const identities = ["identity", "age.key"].map((name) => join(stateDir, name));
  return { path, ...held, fingerprint, recipients, keepToo: [...identities, ...keepToo] };
}

/** A backup must not lie, or land, where the master keeps the very files that it is a backup of. */
async function assertOutside(path: string, stateDir: string): Promise<void> {
  if (!isAbsolute(path) || resolve(path) !== path) {
    throw new ConfigError("bad-file", `cannot back up to "${path}": it is no absolute path`);
  }
  try {
    const inside = relative(await realpath(stateDir), await realpath(dirname(path)));
    if (inside.startsWith("..")) return;
  } catch (cause) {
    throw new ConfigError("bad-file", `cannot back up to "${path}": ${errorMessage(cause)}`, { cause });
  }
  throw new ConfigError("bad-file", `cannot back up to "${path}": that is the master's own state directory`, {
    hint: "a backup belongs on another disk",
  });
}

type Content = Pick<BackupReport, "audit" | "bytes" | "headers" | "minionKeys" | "secretVersions" | "sha256">;

async function contentOf(file: string, recorded: number): Promise<Content> {
  const copy = new SqliteStore(file);
  try {
    const head = await copy.get(HEAD);
    const end = head && decodeHead(head);
    if (!end || end.seq < recorded) {
      throw new HostError("backup-failed", "cannot rely on the backup: its audit log lacks the record of itself");
    }
    const count = async (prefix: string) => (await copy.list(prefix)).length;
    const counts = {
      secretVersions: await count("secret/"),
      headers: await count("header/"),
      minionKeys: await count("keys/"),
    };
    // closed before it is measured: that empties its log into the file
    await copy.close();
    const [{ size: bytes }, sha256] = [await stat(file), await digestOf(file)];
    return { ...counts, audit: { seq: end.seq, hash: end.hash }, bytes, sha256 };
  } finally {
    await copy.close();
  }
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) hash.update(chunk);
  return hash.digest("hex");
}
