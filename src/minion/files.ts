import { hash } from "node:crypto";
import { ConfigError, HostError, ProtocolError } from "../core/errors.ts";
import type { Host } from "../core/host.ts";
import type { Logger } from "../core/log.ts";
import { isRelativePath } from "../sls/file-roots.ts";
import type { SlsSource } from "../sls/low.ts";
import type { SourceFile } from "../states/state.ts";
import type { Link, Patience } from "./link.ts";

/** The master's files as one run sees them: the list is fetched once, contents are proven against their hash. */
export interface FileClient extends SlsSource {
  /** A file from `salt://path` or a bare path; undefined when there is none. */
  source(url: string): Promise<SourceFile | undefined>;
  /** Removes cached files that the master has no more. */
  prune(): Promise<void>;
}

interface Listed {
  readonly size: number;
  readonly sha256: string;
}

/** Most bytes of one file of the file roots. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;
const SHA256 = /^[0-9a-f]{64}$/u;

/** The path in `salt://path`, or the path itself. Throws ConfigError `bad-source`. */
export function sourcePath(url: string): string {
  const path = url.replace(/^salt:\/\//u, "");
  if (!isRelativePath(path)) {
    throw new ConfigError("bad-source", `cannot use source "${url}": not a path below the file roots`, {
      hint: "write salt://directory/file",
    });
  }
  return path;
}

/**
 * The file client of one run, with a cache by hash in `cacheDir`. A disk that takes nothing (it is full, or read-only) is logged and
 * costs the cache alone: what was fetched and proven is used.
 */
export function createFileClient(
  host: Host,
  link: Link,
  cacheDir: string,
  patience: Patience,
  log: Pick<Logger, "warn">,
): FileClient {
  const directory = `${cacheDir}/files`;
  const cachePath = (sha256: string) => `${directory}/${sha256}`;
  let list: Promise<ReadonlyMap<string, Listed>> | undefined;
  const fetched = new Map<string, Promise<Buffer | undefined>>();

  const cached = async (what: "kept" | "removed", act: () => Promise<void>): Promise<void> => {
    try {
      await act();
    } catch (thrown) {
      if (!(thrown instanceof HostError)) throw thrown;
      log.warn({ directory, reason: thrown.message }, `a file of the master could not be ${what} in the cache`);
    }
  };
  const fetchList = async (): Promise<ReadonlyMap<string, Listed>> => {
    const { files } = await link.ask("files.list", {}, patience);
    return new Map(
      files.filter(({ path }) => isRelativePath(path)).map(({ path, size, sha256 }) => [path, { size, sha256 }]),
    );
  };
  const listed = (): Promise<ReadonlyMap<string, Listed>> => (list ??= fetchList());

  const fetch = async (path: string, { size, sha256 }: Listed): Promise<Buffer | undefined> => {
    const before = await host.readFile(cachePath(sha256));
    if (before !== undefined && hash("sha256", before) === sha256) return before;
    const data = await download(link, path, size, patience);
    if (data === undefined) return undefined;
    if (hash("sha256", data) !== sha256) {
      throw new ProtocolError("bad-hash", `cannot use "salt://${path}": its contents do not match their hash`, {
        hint: "the file may have changed at the master meanwhile; run again",
      });
    }
    await cached("kept", async () => {
      await host.makeDirectory(directory, 0o700);
      await host.writeFile(cachePath(sha256), data, { mode: 0o600 });
    });
    return data;
  };

  const source = async (url: string): Promise<SourceFile | undefined> => {
    const path = sourcePath(url);
    const entry = (await listed()).get(path);
    if (entry === undefined) return undefined;
    const pending = fetched.get(entry.sha256) ?? fetch(path, entry);
    fetched.set(entry.sha256, pending);
    const data = await pending;
    // contents stay on disk, not in memory, once handed out
    fetched.delete(entry.sha256);
    return data === undefined ? undefined : { data, sha256: entry.sha256 };
  };
  return {
    roots: "the master's file roots",
    paths: async () => [...(await listed()).keys()],
    source,
    read: async (path) => (isRelativePath(path) ? (await source(path))?.data : undefined),
    prune: async () => {
      if (list === undefined) return;
      const wanted = new Set([...(await list).values()].map(({ sha256 }) => sha256));
      await cached("removed", async () => {
        for (const name of (await host.readDirectory(directory)) ?? []) {
          if (!SHA256.test(name) || !wanted.has(name)) await host.remove(`${directory}/${name}`);
        }
      });
    },
  };
}

async function download(link: Link, path: string, size: number, patience: Patience): Promise<Buffer | undefined> {
  if (size > MAX_FILE_BYTES) {
    throw new ConfigError("file-too-large", `cannot fetch "salt://${path}": larger than ${MAX_FILE_BYTES} bytes`);
  }
  const chunks: Uint8Array[] = [];
  for (let offset = 0; ;) {
    const { found, data, eof } = await link.ask("files.get", { path, offset }, patience);
    if (!found) return undefined;
    chunks.push(data);
    offset += data.length;
    if (eof) return Buffer.concat(chunks);
    if (data.length === 0 || offset > MAX_FILE_BYTES) {
      throw new ProtocolError("bad-file", `cannot fetch "salt://${path}": the master sends it without end`);
    }
  }
}
