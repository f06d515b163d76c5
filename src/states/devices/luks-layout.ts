import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import {
  entriesOf,
  formatLayout,
  layoutOf,
  type LuksLayout,
  MAX_LAYOUT_CHARS,
  saysReencrypting,
} from "../../core/luks-layout.ts";
import { compareLayouts, describeDifferences } from "../../core/luks-layout-compare.ts";
import { describeFaults, findLayoutFaults } from "../../core/luks-layout-rules.ts";
import { type LuksHeader, readLuksHeader } from "./luks-header.ts";

/** What a lease is asked with: how the header of its device says that the volume is encrypted. */
export interface HeaderClaim {
  /** As `formatLayout` writes it; "" when the device has no header (yet), or none that reads. */
  readonly layout: string;
  /** "" for none. */
  readonly luksUuid: string;
}

/** What is wrong with a header by itself, in words; undefined for one that may be used. */
export function headerFault(header: LuksHeader): string | undefined {
  if (header.unread) return "a copy of it is written in a way that cryptsetup may read and we do not";
  const layout = layoutOf(header);
  const faults = findLayoutFaults(layout);
  if (faults.length > 0) return describeFaults(faults);
  if (formatLayout(layout).length > MAX_LAYOUT_CHARS) return "it says more than a header has to say";
  return header.other === undefined
    ? undefined
    : otherCopyFault(layout, layoutOf({ ...header, metadata: header.other }));
}

/** Only how the data is encrypted and opened: cryptsetup writes one copy after the other, so keyslots may well differ. */
const ofSegments = (layout: LuksLayout): LuksLayout =>
  new Map([...layout].filter(([field]) => /^(?:segments|digests|config|version)/u.test(field)));

/** The other sound copy is what cryptsetup takes when it does not like the first: it must not say what no header may. */
function otherCopyFault(layout: LuksLayout, other: LuksLayout): string | undefined {
  const faults = findLayoutFaults(other);
  if (faults.length > 0) return `its other copy: ${describeFaults(faults)}`;
  const reencrypting = saysReencrypting(layout) || saysReencrypting(other);
  // of the two the one with fewer segments is from before, or from after, a re-encryption
  const isLonger = entriesOf(other, "segments").length > entriesOf(layout, "segments").length;
  const [one, two] = isLonger ? [layout, other] : [other, layout];
  const found = compareLayouts(ofSegments(one), ofSegments(two), { reencrypting });
  return found.length === 0 ? undefined : `its two copies differ: ${describeDifferences(found)}`;
}

/** Throws HostError `unsafe-header`, every fault named, for a header that no key may be leased for. */
export function assertSafeHeader(header: LuksHeader, device: string): void {
  const fault = headerFault(header);
  if (fault === undefined) return;
  throw new HostError("unsafe-header", `cannot use the LUKS header of "${device}": ${fault.slice(0, 1000)}`, {
    hint: "somebody may have changed it: nothing was leased, opened or written; `latchkey volume header restore` puts back the one in escrow",
    facts: { device, luksUuid: header.uuid },
  });
}

/** What a device's header says, to be sent with a lease. Throws HostError `unsafe-header`. No process is started. */
export async function readHeaderClaim(host: Pick<Host, "readRange">, device: string): Promise<HeaderClaim> {
  const finding = device === "" ? undefined : await readLuksHeader(host, device);
  if (finding?.kind !== "valid") return { layout: "", luksUuid: "" };
  assertSafeHeader(finding.header, device);
  return { layout: formatLayout(layoutOf(finding.header)), luksUuid: finding.header.uuid };
}
