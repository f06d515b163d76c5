import { HostError } from "../../core/errors.ts";
import type { EscrowedHeader } from "../../core/volume-header.ts";
import { isReencrypting } from "../../states/devices/luks-reencryption.ts";
import { requireBlockDevice } from "../../states/devices/block-device.ts";
import { assertUnsharedDevice, findSharers } from "../../states/devices/volume-sharers.ts";
import { volumePlaces } from "../../states/volume/places.ts";
import { keyPathOf } from "../../states/volume/spec.ts";
import { provenContext } from "../../states/volume/stack-context.ts";
import { takeDown } from "../../states/volume/take-down.ts";
import { signErased } from "../../wire/erased-signature.ts";
import { sameSession } from "../lease.ts";
import { assertKeyKept } from "./guard.ts";
import { escrowHeader, listHeaders } from "./header.ts";
import { readKeyslots } from "./keyslots.ts";
import { type LuksDevice, requireLuks2, withLuksDevice } from "./luks-device.ts";
import { dropRawHeader } from "./raw-header.ts";
import type { VolumeOutcome } from "./rotate.ts";
import type { VolumeContext } from "./runner.ts";

/** How long the master may take to prove a header: a slot of a person's takes it seconds. */
const PROOF_MS = 60_000;
const LOOK_MS = 200;

/** The header in escrow, once the master has seen that a stored key opens it. Throws HostError `header-not-proven`. */
async function provenHeader(context: VolumeContext, version: number): Promise<EscrowedHeader> {
  const { clock } = context.machine;
  const deadline = clock.monotonicMs() + PROOF_MS;
  for (;;) {
    const header = (await listHeaders(context)).find((one) => one.version === version);
    if (header !== undefined && header.proven.version > 0) return header;
    if (clock.monotonicMs() >= deadline) break;
    await clock.sleep(LOOK_MS, context.signal);
  }
  throw new HostError(
    "header-not-proven",
    `cannot erase volume "${context.volume.name}": no stored key opens the header that is in escrow`,
    { hint: "latchkey volume rescue stores a working key while the volume is up" },
  );
}

/**
 * Signs for the master that no keyslot is left on the disk: only then it may destroy for good. A second run says it again,
 * should this one not get through.
 */
async function tellErased(context: VolumeContext, device: LuksDevice, killed: readonly number[]): Promise<void> {
  const { volume, patience, signal } = context;
  const { link, identity } = context.master();
  const { path: place, luksUuid } = device;
  const receipt = { volume: volume.name, path: keyPathOf(volume) ?? "", device: place, luksUuid, killed: [...killed] };
  await link.persist(patience, async (live) => {
    const { handshakeHash } = live;
    return sameSession(live, handshakeHash, async () =>
      live.request("volume.erased", signErased(receipt, identity, handshakeHash), { signal }),
    );
  });
}

/**
 * Makes a volume unreadable on its disk: kills every keyslot. What brings it back stays at the master: the header, which a
 * stored key was proven to open before anything was touched. The master gets the host's signed word that they are dead. A
 * second run finds nothing to do but to say that again. Throws HostError
 * `key-not-kept`, `header-not-proven`, `mount-busy`, `volume-shared` (a snapshot has the keyslots still): then no keyslot was touched.
 */
export async function eraseVolume(given: VolumeContext, options: { readonly force: boolean }): Promise<VolumeOutcome> {
  return withLuksDevice(
    given.at("luks"),
    async (device, context) => {
      const { path } = device;
      const onLuks = context.at("luks");
      const block = await requireBlockDevice(context.host, path);
      if (!options.force) await assertUnsharedDevice(context.host, block, "erase");
      const sharers = await findSharers(context.host, block);
      if (sharers.length > 0) context.note(`NOT erased: the keyslots that ${sharers.join(", ")} has of it still`);
      const slots = readKeyslots(await requireLuks2(onLuks, path));
      if (slots.length === 0) {
        await tellErased(context, device, []);
        return { result: true, comment: "its keyslots were erased already", changes: {} };
      }
      await assertKeyKept(onLuks, options);
      const isWhole = !isReencrypting((await requireLuks2(onLuks, path)).metadata);
      // a header that goes on changing until the device is closed brings nothing back
      const version = isWhole ? (await escrowHeader(context, "erase")).version : 0;
      if (!options.force) await provenHeader(context, version);
      // proven above
      const changes = await takeDown(provenContext(context), { killHolders: false, upTo: "luks" });
      const { encrypted } = await volumePlaces(context.host, context.volume);
      if (encrypted !== path) throw new HostError("device-missing", `cannot erase "${path}": it is not there any more`);
      await onLuks.host.run(["cryptsetup", "erase", "--batch-mode", "--", path], { signal: context.signal });
      const left = readKeyslots(await requireLuks2(onLuks, path));
      if (left.length > 0)
        throw new HostError("still-different", `cannot erase "${path}": ${left.length} keyslots are left`);
      await dropRawHeader(context);
      const numbers = slots.map(({ slot }) => slot);
      await tellErased(context, device, numbers);
      const killed = numbers.join(", ");
      return {
        result: true,
        comment: isWhole
          ? `keyslots ${killed} are erased; header ${version} is in escrow: \`latchkey volume header restore\` brings it back`
          : `keyslots ${killed} are erased in the middle of a re-encryption: nothing brings it back`,
        changes: { ...changes, keyslots: { old: killed, new: "" } },
      };
    },
    { whileReencrypting: options.force },
  );
}
