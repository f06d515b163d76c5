import { AuthError, HostError, LatchkeyError } from "../core/errors.ts";
import { parseLayout } from "../core/luks-layout.ts";
import { compareLayouts, describeDifferences } from "../core/luks-layout-compare.ts";
import type { HeaderClaim } from "../states/devices/luks-layout.ts";
import type { LeaseSubject } from "../states/state.ts";
import type { MasterConnection } from "../wire/endpoints.ts";

/** Throws HostError `wrong-device` when the header that is there now is not the one that the key is meant for. */
export function assertSameHeader({ device, luksUuid }: LeaseSubject, header: HeaderClaim): void {
  if (luksUuid === undefined || header.luksUuid === "" || header.luksUuid === luksUuid) return;
  const finding = `has LUKS UUID ${header.luksUuid}`;
  throw new HostError("wrong-device", `cannot lease a key for "${device}": it ${finding} now, not ${luksUuid}`, {
    facts: { path: device, finding },
  });
}

/**
 * After the master refused: throws AuthError `header-differs` with every field of the LUKS header that is not as the master has it
 * on record, and returns where that is not why.
 */
export async function explainDenial(
  live: MasterConnection,
  path: string,
  device: string,
  { layout, luksUuid }: HeaderClaim,
  signal: AbortSignal,
): Promise<void> {
  const found = parseLayout(layout);
  if (layout === "" || found === undefined) return;
  let answer: { readonly layout: string; readonly reencrypting: boolean };
  try {
    answer = await live.request("header.known", { path, luksUuid }, { signal });
  } catch (error) {
    // the refusal itself is what counts
    if (error instanceof LatchkeyError) return;
    throw error;
  }
  const known = parseLayout(answer.layout);
  if (answer.layout === "" || known === undefined) return;
  const differences = compareLayouts(known, found, answer);
  if (differences.length === 0) return;
  const what = `its LUKS header is not as the master knows it: ${describeDifferences(differences)}`;
  throw new AuthError("header-differs", `cannot lease "secret:${path}" for "${device}": ${what}; nothing was changed`, {
    hint: "somebody may have changed it: `latchkey volume header restore` puts back the one in escrow; where it is meant: latchkey volume header accept",
    facts: {
      ref: `secret:${path}`,
      device,
      luksUuid,
      differences: differences.slice(0, 20).map((one) => ({ ...one })),
    },
  });
}
