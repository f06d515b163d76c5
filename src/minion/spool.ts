import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { errorMessage, HostError } from "../core/errors.ts";
import { isJsonObject } from "../core/json.ts";
import { JID } from "../core/ids.ts";
import type { Request } from "../wire/messages.ts";
import { createDurableFile } from "./durable-file.ts";

/** A return, as it goes to the master. */
export type JobReturn = Request<"return">;

export interface SpoolLimits {
  readonly maxReturns: number;
  readonly maxBytes: number;
}

/** Room for a minion whose master is away for a while. */
export const SPOOL_LIMITS: SpoolLimits = { maxReturns: 2000, maxBytes: 256 * 1024 * 1024 };

/** What is kept in memory alone, for as long as the disk takes nothing. */
const MAX_HELD_BYTES = 32 * 1024 * 1024;

/**
 * Returns that the master does not have yet (I8): on disk before they are sent, removed when the master has answered
 * that they are on its own disk.
 */
export interface Spool {
  /**
   * Undefined when it is on disk. Else what the disk said (it is full): the return is kept in memory alone then, up to 32 MiB
   * of them; beyond that it throws.
   */
  put(entry: JobReturn): Promise<Error | undefined>;
  /** Undefined when it is not there, or was cut short by a power cut before `put` was done. Throws when it cannot be read now. */
  get(jid: string): Promise<JobReturn | undefined>;
  /** Oldest first. */
  waiting(): readonly string[];
  has(jid: string): boolean;
  remove(jid: string): Promise<void>;
  /** True when no further return has room: no job must start then, or its return might be lost. */
  full(): boolean;
}

const nameOf = (jid: string) => `${jid}.json`;

/** The spool in a directory, which is made when it is not there. */
export async function openSpool(directory: string, limits: SpoolLimits = SPOOL_LIMITS): Promise<Spool> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const sizes = new Map<string, number>();
  const held = new Map<string, JobReturn>();
  for (const name of (await readdir(directory)).sort((a, b) => (a < b ? -1 : 1))) {
    const jid = name.replace(/\.json$/u, "");
    if (JID.test(jid)) sizes.set(jid, (await stat(join(directory, name))).size);
  }
  const fileOf = (jid: string) => {
    if (!JID.test(jid)) throw new HostError("bad-jid", `cannot keep a return: "${jid}" is no job id`);
    return join(directory, nameOf(jid));
  };
  return {
    put: async (entry) => {
      const path = fileOf(entry.jid);
      const text = JSON.stringify(entry);
      // an unfinished file of the same job from before a crash
      if (!sizes.has(entry.jid)) await rm(path, { force: true }).catch(() => undefined);
      try {
        await createDurableFile(path, text);
      } catch (thrown) {
        await rm(path, { force: true }).catch(() => undefined);
        const inMemory = sum([...held.keys()].map((jid) => sizes.get(jid) ?? 0));
        if (!(thrown instanceof Error) || inMemory + text.length > MAX_HELD_BYTES) throw thrown;
        held.set(entry.jid, entry);
        sizes.set(entry.jid, text.length);
        return thrown;
      }
      sizes.set(entry.jid, text.length);
      return undefined;
    },
    get: async (jid) => {
      const entry = held.get(jid);
      if (entry) return entry;
      const text = await readIfThere(fileOf(jid));
      return text === undefined ? undefined : parseReturn(text);
    },
    waiting: () => [...sizes.keys()],
    has: (jid) => sizes.has(jid),
    remove: async (jid) => {
      const path = fileOf(jid);
      if (!held.delete(jid)) await rm(path, { force: true });
      sizes.delete(jid);
      // no sync: a return that comes back after a power cut is sent again, and the master knows it already
    },
    full: () => sizes.size >= limits.maxReturns || sum(sizes.values()) >= limits.maxBytes,
  };
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new HostError("file-failed", `cannot read "${path}": ${errorMessage(cause)}`, { cause, facts: { path } });
  }
}

function parseReturn(text: string): JobReturn | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? (value as unknown as JobReturn) : undefined;
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}
