import { assertAgeRecipient } from "../core/age-identity.ts";
import { encryptAge } from "../core/age.ts";
import { equalBytes } from "../core/crypto/hash.ts";
import { ConfigError } from "../core/errors.ts";
import { assertMinionId } from "../core/ids.ts";
import type { Secret } from "../core/secret.ts";
import type { RecipientList } from "../core/secrets-api.ts";
import type { PassphraseHeld, PassphraseOffer } from "../core/volume-api.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { makePassphrase } from "./recovery-passphrase.ts";
import { pushVolumeJob, volumeJob, type VolumeJobOptions } from "./volume-job.ts";
import { parseVolumeTarget } from "./volume-target.ts";

/** Longest passphrase that cryptsetup takes from a terminal (cryptsetup(8)). */
const MAX_BYTES = 512;
const MIN_BYTES = 12;
const LINE_END = 10;

/** Where the passphrase comes from. */
export interface RecoveryOptions extends VolumeJobOptions {
  readonly ask?: true;
  readonly stdin?: true;
}

async function readPassphrase({ ask, stdin }: RecoveryOptions, name: string, context: Context): Promise<Secret> {
  const { terminal, signal } = context;
  if (ask && stdin) throw new ConfigError("bad-usage", "cannot use both --ask and --stdin: choose one");
  if (!ask && !stdin) return makePassphrase();
  if (ask && !terminal.interactive) {
    throw new ConfigError("no-value", "cannot ask for the passphrase: there is no terminal", { hint: "use --stdin" });
  }
  const first = stdin
    ? await terminal.readAll(MAX_BYTES)
    : await terminal.askHidden(`recovery passphrase of ${name}: `, signal);
  const refuse = (why: string) => {
    first.wipe();
    return new ConfigError("bad-passphrase", `cannot use this passphrase: ${why}`);
  };
  if (first.length < MIN_BYTES) throw refuse(`it has less than ${MIN_BYTES} characters`);
  if (first.expose().includes(LINE_END)) throw refuse("it has a line break in it, which nobody can type");
  if (stdin) return first;
  using second = await terminal.askHidden("once more: ", signal);
  if (!equalBytes(first.expose(), second.expose())) throw refuse("the two are not the same");
  return first;
}

/** One host by its id, and one volume of it. Throws ConfigError `bad-target`. */
export function oneVolume(target: string): { readonly id: string; readonly volume: string } {
  const { minions, volumes } = parseVolumeTarget(target);
  const [volume, ...more] = volumes;
  if (volume === undefined || more.length > 0 || !/^[A-Za-z0-9][A-Za-z0-9._-]*$/u.test(minions)) {
    throw new ConfigError("bad-target", `cannot use the target "${target}": name one minion and one volume`, {
      hint: "such as web1/data",
    });
  }
  return { id: assertMinionId(minions), volume };
}

/**
 * `volume add-recovery`: hands a passphrase to the master, encrypted to it, which holds it in memory until the minion
 * fetches it. One that was made here is printed once, when it opens the volume.
 */
export async function addRecovery(target: string, options: RecoveryOptions, context: Context): Promise<number> {
  const { client, terminal } = context;
  const { id, volume } = oneVolume(target);
  const name = sanitiseLine(`${id}/${volume}`);
  const isMade = !options.ask && !options.stdin;
  const { recipients } = await client.request<RecipientList>("GET", "/v1/recipients");
  using passphrase = await readPassphrase(options, name, context);
  // to the master alone: those who can open what is stored need not be able to open this
  const armored = await encryptAge(passphrase, recipients.slice(0, 1).map(assertAgeRecipient));
  const offer: PassphraseOffer = { id, armored };
  const { ticket } = await client.request<PassphraseHeld>("POST", "/v1/volumes/passphrase", offer);
  const job = volumeJob(`${id}/${volume}`, "volume.add_recovery", { ticket }, { ...options, list: true });
  const status = await pushVolumeJob(job, options, context);
  if (!isMade) return status;
  if (status !== 0) {
    terminal.warn(
      "the passphrase was not proven and is not shown: look for a keyslot that nobody knows with `volume status`\n",
    );
    return status;
  }
  terminal.print(`\nrecovery passphrase of ${name}, shown this once (write it down, dashes included):\n\n    `);
  terminal.printBytes(passphrase.expose());
  terminal.print("\n\n");
  return status;
}
