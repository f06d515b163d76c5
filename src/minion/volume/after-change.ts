import { errorMessage } from "../../core/errors.ts";
import type { HeaderReason } from "../../core/volume-header.ts";
import { escrowHeader } from "./header.ts";
import { dropRawHeader } from "./raw-header.ts";
import type { VolumeContext } from "./runner.ts";

/**
 * Backs the header up after a change of keyslots. A backup that fails is noted and no more: what was changed is changed,
 * an older backup stays, and the next check sees that the digests differ and makes a new one.
 */
export async function escrowAfter(context: VolumeContext, reason: HeaderReason): Promise<void> {
  // a key of the volume was just used on this header: what was there before it is of no use
  await dropRawHeader(context);
  try {
    await escrowHeader(context, reason);
  } catch (error) {
    context.signal.throwIfAborted();
    context.note(`the LUKS header is not in escrow as it is now: ${errorMessage(error)}`);
  }
}
