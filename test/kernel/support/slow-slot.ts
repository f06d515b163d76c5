import { randomBytes } from "node:crypto";
import type { Host } from "../../../src/core/host.ts";

const PASSPHRASE_BYTES = 32;

/** Adds a keyslot of a person's kind (argon2id) to a LUKS device, and resolves with how long that took, one derivation at least, in ms. */
export async function addSlowSlot(host: Host, device: string, machineKey: Buffer): Promise<number> {
  const passphrase = Buffer.from(randomBytes(PASSPHRASE_BYTES / 2).toString("hex"));
  const kdf = ["--pbkdf=argon2id", "--pbkdf-memory=32768", "--pbkdf-parallel=1", "--pbkdf-force-iterations=4"];
  const keys = ["--key-file=-", `--keyfile-size=${machineKey.length}`, "--new-keyfile=-"];
  const argv = ["cryptsetup", "luksAddKey", "--batch-mode", ...kdf, ...keys] as const;
  const begun = performance.now();
  await host.run([...argv, `--new-keyfile-size=${passphrase.length}`, "--", device], {
    stdin: Buffer.concat([machineKey, passphrase]),
  });
  return performance.now() - begun;
}
