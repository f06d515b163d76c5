import { access } from "node:fs/promises";
import { join } from "node:path";
import { ChainVerifier, type Verification } from "../../core/audit/verify.ts";
import { ConfigError } from "../../core/errors.ts";
import { loadIdentity } from "../../core/identity-file.ts";
import { SqliteStore } from "../store/sqlite.ts";
import { auditLines } from "./export.ts";
import { decodeHead, HEAD } from "./stored.ts";

/**
 * Walks the audit chain in the store of a master that does not run, as one that refuses to start because its chain is
 * damaged. Throws ConfigError when there is no master in `stateDir`, HostError `store-locked` while it runs.
 */
export async function verifyStore(stateDir: string): Promise<Verification> {
  const path = join(stateDir, "store.db");
  const identity = await loadIdentity(join(stateDir, "identity"));
  try {
    await access(path);
  } catch (cause) {
    throw new ConfigError("no-store", `cannot verify "${stateDir}": there is no store in it`, { cause });
  }
  if (!identity) throw new ConfigError("no-identity", `cannot verify "${stateDir}": there is no identity in it`);
  const store = new SqliteStore(path);
  try {
    const verifier = new ChainVerifier(identity.public.signKey);
    for await (const line of auditLines(store)) verifier.take(line);
    const head = await store.get(HEAD);
    verifier.storedHead(head && decodeHead(head));
    return verifier.result();
  } finally {
    await store.close();
  }
}
