import { ConfigError, HostError } from "../../core/errors.ts";
import { RECOVERY_PREFIX } from "../../core/recovery-ticket.ts";
import { findLuksToken } from "../../states/devices/luks-token.ts";
import type { LeasedKey } from "../../states/state.ts";
import { escrowAfter } from "./after-change.ts";
import {
  addKeyslot,
  countFreeKeyslots,
  HUMAN_KDF,
  killKeyslot,
  opensSlot,
  readKeyslots,
  requireFreeKeyslot,
  setPriority,
  slotsOpenedBy,
} from "./keyslots.ts";
import { type LuksDevice, requireLuks2, withLuksDevice } from "./luks-device.ts";
import type { VolumeOutcome } from "./rotate.ts";
import type { VolumeContext } from "./runner.ts";

interface Machine {
  readonly device: LuksDevice;
  readonly key: LeasedKey;
  /** Slots that the stored key opens, and those that the header says are the master's. */
  readonly own: readonly number[];
}

/** Runs `use` with the volume's stored key, which opens at least one keyslot. */
async function withMachineKey<T>(
  given: VolumeContext,
  use: (machine: Machine, held: VolumeContext) => Promise<T>,
): Promise<T> {
  return withLuksDevice(given.at("luks"), async (device, context) => {
    const subject = { device: device.path, luksUuid: device.luksUuid };
    return context.lease(context.volume.luks?.key ?? "", "recovery", subject, async (key) => {
      const header = await requireLuks2(context, device.path);
      const token = findLuksToken(header);
      const named = token.kind === "valid" ? token.token.machine.map(({ slot }) => slot) : [];
      const opened = await slotsOpenedBy(context, device.path, header, key, { also: named });
      if (opened.length === 0) {
        throw new HostError(
          "key-does-not-open",
          `cannot change the keyslots of volume "${context.volume.name}": version ${key.version} of its stored key does not open it`,
          { hint: "`latchkey volume rotate` finds the version that does; `latchkey volume rescue` while it is open" },
        );
      }
      return use({ device, key, own: [...new Set([...opened, ...named])] }, context);
    });
  });
}

/**
 * Puts the passphrase that the master holds under this ticket in a keyslot of its own, with a slow key derivation and
 * after the machine's slots, so that no boot pays for it. One place stays free, which a rotation needs.
 */
export async function addRecovery(context: VolumeContext, ticket: string): Promise<VolumeOutcome> {
  return withMachineKey(context, async ({ device, key, own }, onLuks) => {
    const { path, luksUuid } = device;
    const header = await requireLuks2(onLuks, path);
    if (countFreeKeyslots(header) < 2) {
      throw new HostError(
        "no-free-slot",
        `cannot add a passphrase to "${path}": a rotation needs the last free keyslot`,
        {
          hint: "remove a passphrase first (latchkey volume remove-recovery), or format with a bigger keyslots_size",
        },
      );
    }
    const slot = requireFreeKeyslot(header, path);
    const subject = { device: path, luksUuid };
    await onLuks.lease(`secret:${RECOVERY_PREFIX}${ticket}`, "recovery", subject, async ({ secret: added }) => {
      await addKeyslot(onLuks, path, { opens: key.secret, added }, { slot, kdf: HUMAN_KDF });
      if (!(await opensSlot(onLuks, path, added, slot))) {
        throw new HostError(
          "slot-not-proven",
          `cannot add a passphrase: the new keyslot ${slot} of "${path}" does not open`,
        );
      }
    });
    const after = await requireLuks2(onLuks, path);
    await setPriority(onLuks, path, after, slot, "normal");
    for (const each of own) await setPriority(onLuks, path, after, each, "prefer");
    await escrowAfter(onLuks, "add-recovery");
    return {
      result: true,
      comment: `the passphrase is in keyslot ${slot} and opens it`,
      changes: { slot: { from: null, to: slot } },
    };
  });
}

/** Kills the keyslot of a person's passphrase. Throws ConfigError `machine-slot` for one of the master's, `no-such-slot`. */
export async function removeRecovery(context: VolumeContext, slot: number): Promise<VolumeOutcome> {
  return withMachineKey(context, async ({ device: { path }, key, own }, onLuks) => {
    const slots = readKeyslots(await requireLuks2(onLuks, path));
    const found = slots.find((one) => one.slot === slot);
    const others = slots.filter((one) => !own.includes(one.slot) && one.kdf !== "").map((one) => one.slot);
    const hint = others.length === 0 ? "there is none of a person" : `of a person: ${others.join(", ")}`;
    if (found === undefined || found.kdf === "") {
      throw new ConfigError("no-such-slot", `cannot remove keyslot ${slot} of "${path}": it is not in use`, { hint });
    }
    if (own.includes(slot)) {
      throw new ConfigError("machine-slot", `cannot remove keyslot ${slot} of "${path}": it is the master's own`, {
        hint,
      });
    }
    await killKeyslot(onLuks, path, key.secret, slot);
    await escrowAfter(onLuks, "operator");
    return { result: true, comment: `keyslot ${slot} is gone`, changes: { slot: { from: slot, to: null } } };
  });
}
