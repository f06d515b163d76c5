import type { Host } from "../../../../src/core/host.ts";
import type { Fleet } from "./fleet.ts";
import { encryptedDeviceOf, keyPathOf } from "./scenario.ts";

/** I3: of all that the master has in store, something opens the header as it is on the disk now; else this throws. */
export async function proveStoredKeyOpens(host: Host, fleet: Fleet, volume: string): Promise<void> {
  const keys = await fleet.keysOf(keyPathOf(volume));
  for (const key of [...keys.values()].toReversed()) {
    const argv = ["cryptsetup", "open", "--test-passphrase", "--key-file=-", `--keyfile-size=${key.length}`] as const;
    const device = encryptedDeviceOf(volume);
    const opened = await host.run([...argv, "--", device], { stdin: key, okCodes: [0, 1, 2] });
    if (opened.exitCode === 0) return;
  }
  throw new Error(`none of the ${keys.size} stored versions opens ${volume}`);
}
