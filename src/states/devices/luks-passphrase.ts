import type { Secret } from "../../core/secret.ts";
import type { ApplyContext } from "../state.ts";

/** cryptsetup(8): no usable keyslot (1), no key available with this passphrase (2). */
const DOES_NOT_OPEN = [1, 2] as const;

/**
 * Whether a key opens the header of a LUKS device (one keyslot of it when `slot` is given): `--test-passphrase`, which
 * touches no mapping. Throws HostError when cryptsetup fails for another reason.
 */
export async function keyOpens(
  { host, signal }: Pick<ApplyContext, "host" | "signal">,
  device: string,
  secret: Secret,
  slot?: number,
): Promise<boolean> {
  const only = slot === undefined ? [] : ["--key-slot", String(slot)];
  const options = ["--type", "luks", "--key-file=-", "--keyfile-size", String(secret.length), ...only];
  const { exitCode } = await host.run(["cryptsetup", "open", "--test-passphrase", ...options, "--", device], {
    stdin: secret,
    okCodes: [0, ...DOES_NOT_OPEN],
    signal,
  });
  return exitCode === 0;
}
