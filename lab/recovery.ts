import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { execFileSync } from "node:child_process";
import { command } from "./command.ts";
import type { LabMaster } from "./master.ts";

/** An offline identity of the operator, as `age-keygen` makes it: opens every secret of the store without the master. */
export interface RecoveryIdentity {
  readonly file: string;
  /** `age1…`, for the master's `recovery_recipients`. */
  readonly recipient: string;
}

/** Makes a recovery identity in a file below `directory`. */
export async function makeRecoveryIdentity(directory: string): Promise<RecoveryIdentity> {
  const file = join(directory, "recovery.txt");
  await command(["age-keygen", "-o", file]);
  const { stdout } = await command(["age-keygen", "-y", file]);
  return { file, recipient: stdout.trim() };
}

/** One version of a secret, opened: the key itself, for a search to look for. */
export interface RecoveredKey {
  /** `<minion id>/<pillar path>/<version>` as the store names it. */
  readonly name: string;
  readonly bytes: Buffer;
}

/**
 * Every secret in a master's store, opened by Debian's `age` with the recovery identity from a copy of the store: what an
 * operator would do on the worst day, and how a test learns which bytes must be nowhere else.
 */
export function recoverKeys(master: LabMaster, identity: RecoveryIdentity): readonly RecoveredKey[] {
  const copy = mkdtempSync(join(master.directory, "copy-"));
  try {
    for (const name of ["store.db", "store.db-wal"]) {
      const path = join(master.stateDirectory, name);
      if (existsSync(path)) copyFileSync(path, join(copy, name));
    }
    const database = new DatabaseSync(join(copy, "store.db"));
    const rows = database.prepare("select key, value from entries where key like 'secret/%' order by key").all();
    database.close();
    return rows.map(({ key, value }) => {
      const { armored } = JSON.parse(Buffer.from(value as Uint8Array).toString()) as { readonly armored: string };
      const bytes = execFileSync("age", ["-d", "-i", identity.file], { input: armored });
      return { name: String(key).slice("secret/".length), bytes };
    });
  } finally {
    rmSync(copy, { recursive: true });
  }
}
