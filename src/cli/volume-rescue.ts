import { assertAgeRecipient } from "../core/age-identity.ts";
import { encryptAge } from "../core/age.ts";
import { ConfigError } from "../core/errors.ts";
import type { RecipientList } from "../core/secrets-api.ts";
import type { PassphraseHeld, PassphraseOffer } from "../core/volume-api.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { pushVolumeJob, volumeJob, type VolumeJobOptions } from "./volume-job.ts";
import { oneVolume } from "./volume-recovery.ts";

/** Longest passphrase that cryptsetup takes from a terminal (cryptsetup(8)). */
const MAX_BYTES = 512;

/** Where another passphrase of the volume comes from; out of the kernel when neither is given. */
export interface RescueOptions extends VolumeJobOptions {
  readonly ask?: true;
  readonly stdin?: true;
}

/**
 * `volume rescue <minion>/<volume>`: has the minion store a new key. A passphrase goes to the master encrypted to it, which
 * holds it in memory until the minion fetches it, once.
 */
export async function rescueVolume(target: string, options: RescueOptions, context: Context): Promise<number> {
  const { client, terminal, signal } = context;
  const { id, volume } = oneVolume(target);
  const given = { ...options, list: true } as const;
  const job = (kwargs: Readonly<Record<string, string>>) =>
    volumeJob(`${id}/${volume}`, "volume.rescue", kwargs, given);
  if (options.ask && options.stdin) throw new ConfigError("bad-usage", "cannot use both --ask and --stdin: choose one");
  if (!options.ask && !options.stdin) return pushVolumeJob(job({}), given, context);
  if (options.ask && !terminal.interactive) {
    throw new ConfigError("no-value", "cannot ask for the passphrase: there is no terminal", { hint: "use --stdin" });
  }
  const name = sanitiseLine(`${id}/${volume}`);
  using passphrase = options.stdin
    ? await terminal.readAll(MAX_BYTES)
    : await terminal.askHidden(`a passphrase that opens ${name}: `, signal);
  if (passphrase.length === 0) throw new ConfigError("bad-passphrase", "cannot use an empty passphrase");
  const { recipients } = await client.request<RecipientList>("GET", "/v1/recipients");
  const armored = await encryptAge(passphrase, recipients.slice(0, 1).map(assertAgeRecipient));
  const offer: PassphraseOffer = { id, armored };
  const { ticket } = await client.request<PassphraseHeld>("POST", "/v1/volumes/passphrase", offer);
  return pushVolumeJob(job({ ticket }), given, context);
}
