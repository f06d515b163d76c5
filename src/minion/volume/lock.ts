import { errorMessage, HostError } from "../../core/errors.ts";
import { findMapping } from "../../states/devices/block-device.ts";
import { holding } from "../../states/devices/held-device.ts";
import { readLuksHeader } from "../../states/devices/luks-header.ts";
import { isReencrypting, stopReencryption } from "../../states/devices/luks-reencryption.ts";
import { bringUp } from "../../states/volume/bring-up.ts";
import { volumePlaces } from "../../states/volume/places.ts";
import { provenContext, type StackContext } from "../../states/volume/stack-context.ts";
import { takeDown } from "../../states/volume/take-down.ts";
import type { VolumeOutcome } from "./rotate.ts";
import type { VolumeContext } from "./runner.ts";
import { isVolumeLocked, mappingName } from "./suspended.ts";

/** How long stopping, unmounting and closing may take before the key is taken out of the kernel as things are. */
const DOWN_MS = 15_000;
/** How long that may take. */
const SUSPEND_MS = 10_000;
/** How long a key may be on its way from the master to the kernel. */
const IN_HAND_MS = 10_000;
const LOOK_MS = 100;

/** The same context, its commands ended at a deadline, and without the safeguard: a lock must be instant. */
function within(context: StackContext, ms: number): StackContext {
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(ms)]);
  const proven = provenContext(context);
  return { ...proven, signal, at: (layer) => ({ ...proven.at(layer), signal }) };
}

const isOpen = async ({ host, volume }: VolumeContext) => (await findMapping(host, mappingName(volume))) !== undefined;

/**
 * Whether a run that had its key before the lock opens the volume now: a key is used as soon as it comes, and the master gives
 * no further one, so it is looked at for as long as such a run may have one in hand.
 */
async function opensYet(context: VolumeContext, running: () => Promise<string | undefined>): Promise<boolean> {
  const { clock } = context.machine;
  const deadline = clock.monotonicMs() + IN_HAND_MS;
  for (;;) {
    const isRunning = (await running()) !== undefined;
    // looked at after the run was: what ended in between has opened it
    if (await isOpen(context)) return true;
    if (!isRunning || clock.monotonicMs() >= deadline) return false;
    await clock.sleep(LOOK_MS, context.signal);
  }
}

/**
 * Takes the key of a volume out of this machine: stops dependents, unmounts, closes. When that is blocked or slow the
 * mapping is suspended instead, which wipes the key from the kernel's memory, and whatever uses the volume stands still.
 * `running` tells who runs states on this machine: one that is closed may be about to be opened. Destroys nothing. Throws HostError `not-locked` when neither could be done.
 */
export async function lockVolume(
  context: VolumeContext,
  running: () => Promise<string | undefined>,
): Promise<VolumeOutcome> {
  const { volume, host } = context;
  if (volume.luks === undefined) return outcome("not encrypted: nothing to lock");
  if (await isVolumeLocked(host, volume)) return outcome("it was suspended already");
  if (!(await isOpen(context)) && !(await opensYet(context, running))) return outcome("it was closed already");
  let why = "";
  try {
    const changes = await takeDown(within(context, DOWN_MS), { killHolders: false, upTo: "luks", leaveDown: true });
    if (!(await isOpen(context))) return { result: true, comment: "closed", changes };
    why = "its mapping is still there";
  } catch (error) {
    context.signal.throwIfAborted();
    why = errorMessage(error);
  }
  return suspend(context, why);
}

const outcome = (comment: string): VolumeOutcome => ({ result: true, comment, changes: {} });

async function suspend(context: VolumeContext, why: string): Promise<VolumeOutcome> {
  const { host, volume } = context.at("luks");
  const name = mappingName(volume);
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(SUSPEND_MS)]);
  try {
    const { encrypted } = await volumePlaces(host, volume);
    if (encrypted !== undefined) await stopReencryption({ host, signal }, encrypted);
    await host.run(["cryptsetup", "luksSuspend", name], { signal, timeoutMs: SUSPEND_MS });
  } catch (error) {
    if (!(await isVolumeLocked(host, volume))) {
      const { encrypted = "" } = await volumePlaces(host, volume);
      const luks = await readLuksHeader(host, encrypted);
      const reason =
        luks.kind === "valid" && isReencrypting(luks.header.metadata)
          ? "it is being re-encrypted, and cannot be suspended meanwhile"
          : errorMessage(error);
      throw new HostError("not-locked", `cannot lock volume "${volume.name}": ${reason}`, {
        hint: `it could not be closed either: ${why}; its leases are held all the same, so it does not come back after a power cut`,
        facts: { volume: volume.name },
      });
    }
  }
  // what requires the target hangs on the volume: it ends when that is possible
  await context.beforeDown?.("at once", signal).catch((error: unknown) => context.note(errorMessage(error)));
  return {
    result: true,
    comment: `suspended, its key is out of the kernel; it could not be closed: ${why}`,
    changes: { mapping: { old: "open", new: "suspended" } },
  };
}

/** Gives a suspended volume its key again, or starts one that was closed. The master has lifted its lock before. */
export async function unlockVolume(context: VolumeContext): Promise<VolumeOutcome> {
  const { volume, host } = context;
  const { luks } = volume;
  const onLuks = context.at("luks");
  if (luks !== undefined && (await isVolumeLocked(host, volume))) {
    const { encrypted = "" } = await volumePlaces(host, volume);
    await holding(onLuks, encrypted, async (held) => {
      const header = await readLuksHeader(held.host, encrypted);
      const luksUuid = header.kind === "valid" ? { luksUuid: header.header.uuid } : {};
      await context.lease(luks.key, "open", { device: encrypted, ...luksUuid }, async ({ secret }) => {
        const key = ["--key-file=-", "--keyfile-size", String(secret.length)];
        // of a mapping that is another's by now, this key is none
        await held.host.run(["cryptsetup", "luksResume", ...key, mappingName(volume)], {
          stdin: secret,
          signal: context.signal,
        });
      });
    });
    context.note("resumed");
  }
  const changes = await bringUp(context, { mayFormat: false });
  return { result: true, comment: "it is up", changes };
}
