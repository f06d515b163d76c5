import { join } from "node:path";
import { systemClock } from "../../../src/core/clock.ts";
import { loadAgeIdentity } from "../../../src/master/age-identity-file.ts";
import { Lane } from "../../../src/core/lane.ts";
import { createLogger } from "../../../src/core/log.ts";
import { EventBus } from "../../../src/master/events.ts";
import { openSecrets } from "../../../src/master/secrets.ts";
import { rekey } from "../../../src/master/secrets/rekey.ts";
import { SqliteStore } from "../../../src/master/store/sqlite.ts";
import { Headers } from "../../../src/master/volumes/headers.ts";
import { vaultOf } from "../../../src/master/volumes/vault.ts";

/** Encrypts everything of a directory to a recipient, and kills itself with SIGKILL at the n-th point it passes. */
const [directory = "", recipient = "", dieAt = "0"] = process.argv.slice(2);

const store = new SqliteStore(join(directory, "store.db"));
const identity = await loadAgeIdentity(join(directory, "age.key"), store, systemClock);
using secrets = openSecrets({ store, identity, recoveryRecipients: [recipient], clock: systemClock });
const headers = new Headers({
  store,
  vault: vaultOf(secrets, identity),
  audit: { append: () => Promise.reject(new Error("nothing is recorded here")) },
  events: new EventBus(systemClock),
  log: createLogger("test", "silent"),
  clock: systemClock,
  volumes: { get: () => undefined },
  known: { whyNotKept: async () => undefined, kept: async () => {}, forget: async () => {} },
  keyPathOf: async () => undefined,
});
let passed = 0;
const report = await rekey({
  store,
  identity,
  versions: secrets.versions,
  headers,
  roots: [join(directory, "pillar")],
  lane: new Lane(),
  clock: systemClock,
  record: async () => {},
  reached: () => {
    passed += 1;
    if (passed === Number(dieAt)) process.kill(process.pid, "SIGKILL");
  },
});
await store.close();
console.log(JSON.stringify({ passed, report }));
