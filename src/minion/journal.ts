import { hash } from "node:crypto";
import { join } from "node:path";
import { HostError } from "../core/errors.ts";
import type { Host } from "../core/host.ts";
import type { Json } from "../core/json.ts";

/**
 * Notes on disk of what is not atomic (a format that began). A note survives a power cut: `begin` resolves when it is on
 * disk, `commit` when its removal is; `pending` tells what was noted, undefined when nothing is.
 */
export interface Journal {
  readonly begin: (key: string, note: Json) => Promise<void>;
  readonly commit: (key: string) => Promise<void>;
  readonly pending: (key: string) => Promise<Json | undefined>;
  /** Keys of everything that began and did not end, sorted; a note that is damaged is left out. */
  readonly keys: () => Promise<readonly string[]>;
}

interface Entry {
  readonly key: string;
  readonly note: Json;
}

/** A journal in a directory, one file an entry, named by the key's hash; the directory is made when first needed. */
export function openJournal(host: Host, directory: string): Journal {
  const fileOf = (key: string) => join(directory, `${hash("sha256", key)}.json`);
  return {
    begin: async (key, note) => {
      await host.makeDirectory(directory, 0o700);
      const entry: Entry = { key, note };
      await host.writeFile(fileOf(key), Buffer.from(JSON.stringify(entry)), { mode: 0o600 });
    },
    commit: async (key) => {
      await host.remove(fileOf(key));
    },
    pending: async (key) => {
      const path = fileOf(key);
      const bytes = await host.readFile(path);
      if (bytes === undefined) return undefined;
      const entry = parseEntry(bytes);
      if (entry?.key === key) return entry.note;
      throw new HostError("journal-damaged", `cannot read journal "${path}": it is damaged`, {
        hint: `the note was about ${key}; look at it by hand, then remove the file`,
        facts: { path },
      });
    },
    keys: async () => {
      const names = (await host.readDirectory(directory)) ?? [];
      const files = names.filter((name) => /^[0-9a-f]{64}\.json$/u.test(name));
      const bytes = await Promise.all(files.map(async (name) => host.readFile(join(directory, name))));
      return bytes.flatMap((each) => (each && parseEntry(each)?.key) ?? []).sort();
    },
  };
}

function parseEntry(bytes: Buffer): Entry | undefined {
  try {
    return JSON.parse(bytes.toString("utf8")) as Entry;
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}
