import { HostError } from "../../core/errors.ts";
import { layoutOf, parseLayout } from "../../core/luks-layout.ts";
import { compareLayouts, describeDifferences } from "../../core/luks-layout-compare.ts";
import type { LuksHeader } from "../../states/devices/luks-header.ts";
import { headerFault } from "../../states/devices/luks-layout.ts";
import { keyPathOf } from "../../states/volume/spec.ts";
import type { VolumeContext } from "./runner.ts";

/**
 * What a volume's header says of its encryption that the master has otherwise on record, or that no header may say; in words.
 * Undefined for the header that is known, and where none is. Throws TransportError.
 */
export async function findHeaderDifference(
  context: VolumeContext,
  header: LuksHeader | undefined,
): Promise<string | undefined> {
  const path = keyPathOf(context.volume);
  if (header === undefined || path === undefined) return undefined;
  const fault = headerFault(header);
  if (fault !== undefined) return fault;
  const { link } = context.master();
  const answer = await link.ask("header.known", { path, luksUuid: header.uuid }, context.patience);
  const known = parseLayout(answer.layout);
  if (answer.layout === "" || known === undefined) return undefined;
  return describeDifferences(compareLayouts(known, layoutOf(header), answer)) || undefined;
}

/** Throws HostError `header-differs` for a header that must not go into escrow in place of the one that is there. */
export async function assertKnownHeader(context: VolumeContext, header: LuksHeader, device: string): Promise<void> {
  const difference = await findHeaderDifference(context, header);
  if (difference === undefined) return;
  throw new HostError("header-differs", `cannot back up the header of "${device}": ${difference}`, {
    hint: "somebody may have changed it: `latchkey volume header restore` puts back the one in escrow",
    facts: { path: device },
  });
}
