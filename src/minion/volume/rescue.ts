import { ConfigError, errorMessage, HostError, LatchkeyError } from "../../core/errors.ts";
import type { Secret } from "../../core/secret.ts";
import type { LeasedKey } from "../../states/state.ts";
import { adoptToken } from "../../states/devices/luks-token.ts";
import { keyFileDirectories, withKeyFile } from "../key-file.ts";
import { RECOVERY_PREFIX } from "../../core/recovery-ticket.ts";
import { keyOpens } from "../../states/devices/luks-passphrase.ts";
import { escrowAfter } from "./after-change.ts";
import { assertKeyKept } from "./guard.ts";
import { volumeKeyFromKernel } from "./kernel-key.ts";
import {
  addKeyslot,
  MACHINE_KDF,
  HUMAN_KDF,
  opensSlot,
  requireFreeKeyslot,
  setPriority,
  slotsOpenedBy,
} from "./keyslots.ts";
import { type LuksDevice, requireLuks2, withLuksDevice } from "./luks-device.ts";
import type { VolumeOutcome } from "./rotate.ts";
import { tellMaster } from "./rotation-steps.ts";
import type { VolumeContext } from "./runner.ts";

/** What opens the header, so that a key can be added: the volume key itself, or a passphrase that somebody still has. */
interface Opener {
  readonly kind: "passphrase" | "volume-key";
  readonly secret: Secret;
}

/** Which key is to open the volume from now on; `commit` tells the master that it was proven to. */
interface NewKey {
  readonly version: number;
  readonly commit: (slot: number) => Promise<void>;
}

/** Whether the current key opens it as it is: then there is nothing to rescue. */
async function isKept(context: VolumeContext): Promise<boolean> {
  try {
    return (await assertKeyKept({ ...context, note: () => {} }, { force: false })).kind === "proven";
  } catch (error) {
    if (error instanceof LatchkeyError) return false;
    throw error;
  }
}

/**
 * A version that the master minted for this and keeps apart until it is proven; where the pillar has the key itself, or
 * there was none yet, the stored key as it is: it is durable already (I1).
 */
async function newKey(context: VolumeContext, device: LuksDevice): Promise<NewKey> {
  const tell = tellMaster(context, device);
  try {
    const { from, to } = await tell("begin", { keepOld: true });
    const proven = async (slot: number) => {
      await tell("proven", { from, to, slot });
      await tell("done", { from, to, slot });
    };
    return { version: to, commit: proven };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    context.note(`the stored key is used as it is: ${errorMessage(error)}`);
    return { version: 0, commit: async () => {} };
  }
}

async function addWith(
  context: VolumeContext,
  path: string,
  opener: Opener,
  { secret, generated }: LeasedKey,
  slot: number,
): Promise<void> {
  const kdf = generated ? MACHINE_KDF : HUMAN_KDF;
  if (opener.kind === "passphrase") {
    return addKeyslot(context, path, { opens: opener.secret, added: secret }, { slot, kdf });
  }
  const { host, machine, signal } = context;
  const added = ["--new-keyfile=-", `--new-keyfile-size=${secret.length}`, `--new-key-slot=${slot}`, ...kdf];
  await withKeyFile(keyFileDirectories(machine.config.runDir), opener.secret, async (file) => {
    const opens = `--volume-key-file=${file}`;
    await host.run(["cryptsetup", "luksAddKey", "--batch-mode", "--type", "luks2", opens, ...added, "--", path], {
      stdin: secret,
      signal,
    });
  });
}

/**
 * Stores a working key of a volume whose stored key does not open it, while it is still up: a key that the master made
 * durable first (I1) gets a keyslot by the volume key out of the kernel (or by a passphrase that the master holds under
 * `ticket`, and then the volume need not be up), is proven, and becomes the current one. Throws HostError `key-in-keyring`,
 * `not-open`, `wrong-key`, `no-free-slot`; then nothing was changed.
 */
export async function rescueVolume(given: VolumeContext, ticket?: string): Promise<VolumeOutcome> {
  return withLuksDevice(given.at("luks"), async (device, context) => {
    if (await isKept(context)) {
      return { result: true, comment: "the stored key opens it: there is nothing to rescue", changes: {} };
    }
    // before anything is minted
    return withOpener(context, device, ticket, async (opener) => {
      const free = requireFreeKeyslot(await requireLuks2(context, device.path), device.path);
      const { version, commit } = await newKey(context, device);
      const { slot, version: added } = await storeKey(context, device, opener, version, free);
      await commit(slot);
      await escrowAfter(context, "rescue");
      return {
        result: true,
        comment: `version ${added} of the key is in keyslot ${slot} and opens the volume`,
        changes: { key: { from: "none that opens it", to: `version ${added}` }, slot: { from: null, to: slot } },
      };
    });
  });
}

/** With a ticket: the passphrase that the master holds under it. Else the volume key out of the kernel. */
async function withOpener<T>(
  context: VolumeContext,
  { path, luksUuid }: LuksDevice,
  ticket: string | undefined,
  use: (opener: Opener) => Promise<T>,
): Promise<T> {
  if (ticket === undefined) {
    using secret = await volumeKeyFromKernel(context);
    return await use({ kind: "volume-key", secret });
  }
  const ref = `secret:${RECOVERY_PREFIX}${ticket}`;
  return context.lease(ref, "recovery", { device: path, luksUuid }, async ({ secret }) => {
    if (await keyOpens(context, path, secret)) return use({ kind: "passphrase", secret });
    throw new HostError("wrong-key", `cannot rescue: the passphrase does not open "${path}"; nothing was changed`);
  });
}

/** Gives the key its slot, and proves it. */
async function storeKey(
  context: VolumeContext,
  { path, luksUuid }: LuksDevice,
  opener: Opener,
  version: number,
  free: number,
): Promise<{ readonly slot: number; readonly version: number }> {
  const ref = context.volume.luks?.key ?? "";
  const subject = { device: path, luksUuid, ...(version === 0 ? {} : { version }) };
  return context.lease(ref, "rotate", subject, async (key) => {
    // one that was cut short may have added it already
    const [known] = await slotsOpenedBy(context, path, await requireLuks2(context, path), key);
    const slot = known ?? free;
    if (known === undefined) await addWith(context, path, opener, key, slot);
    if (!(await opensSlot(context, path, key.secret, slot))) {
      throw new HostError("slot-not-proven", `cannot rescue: the new keyslot ${slot} of "${path}" does not open`);
    }
    await setPriority(context, path, await requireLuks2(context, path), slot, "prefer");
    const about = { volume: context.volume.name, made: context.machine.clock.now() };
    await adoptToken(context, path, { slot, version: key.version }, about);
    return { slot, version: key.version };
  });
}
