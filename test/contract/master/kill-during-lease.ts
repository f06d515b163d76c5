/**
 * A master that is killed around the write of a lease's record: started as a process of its own by release.test.ts.
 * Arguments: the directory, `before` or `after`, the key in hex (made by the test).
 */
import { SqliteStore } from "../../../src/master/store/sqlite.ts";
import type { Change, WriteResult } from "../../../src/master/store/store.ts";
import { rig, tinyPillar } from "./rig.ts";

const [directory = "", when = "", hex = ""] = process.argv.slice(2);

class DyingStore extends SqliteStore {
  override async write(changes: readonly Change[]): Promise<WriteResult> {
    const isLease = changes.some(({ key }) => key.startsWith("leases/"));
    if (isLease && when === "before") process.kill(process.pid, "SIGKILL");
    const result = await super.write(changes);
    if (isLease) process.kill(process.pid, "SIGKILL");
    return result;
  }
}

const { master } = await rig(
  directory,
  {
    openStore: (path) => new DyingStore(path),
    openPillar: async () => tinyPillar(Buffer.from(hex, "hex")),
  },
  { auto_accept: true },
);
console.log(JSON.stringify({ ports: master.ports, fingerprint: master.fingerprint }));
