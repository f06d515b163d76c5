import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../src/core/clock.ts";
import { generateIdentity } from "../src/core/identity.ts";
import { AuditLog } from "../src/master/audit/audit-log.ts";
import { SqliteStore } from "../src/master/store/sqlite.ts";

const SECONDS = 2;
const WRITERS = 50;

/** Records a second that fifty writers at once get into the chain, each on disk before the next: what audit alone costs. */
export async function measureAudit(): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), "latchkey-bench-audit-"));
  const store = new SqliteStore(join(directory, "store.db"));
  const identity = generateIdentity();
  const log = await AuditLog.open({
    store,
    clock: systemClock,
    sign: (message) => identity.sign.sign(message),
    signKey: identity.public.signKey,
  });
  try {
    let written = 0;
    const begun = performance.now();
    const end = begun + SECONDS * 1000;
    const writer = async (_: unknown, index: number) => {
      while (performance.now() < end) {
        await log.append({
          at: Date.now(),
          kind: "lease",
          actor: `host-${index}`,
          subject: `host-${index}`,
          from: "127.0.0.1",
          data: { path: "password", purpose: "open", verdict: "allow", reasons: ["rule"], version: 1 },
        });
        written += 1;
      }
    };
    await Promise.all(Array.from({ length: WRITERS }, writer));
    return written / ((performance.now() - begun) / 1000);
  } finally {
    await log.close();
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
