import { HostError } from "../../core/errors.ts";
import { isJsonObject } from "../../core/json.ts";
import { readLuksInteger, readLuksNumber } from "../../core/luks-number.ts";
import type { LuksHeader } from "./luks-header.ts";

const SECTOR = 512;

/** Where a LUKS2 device's one data segment begins, when it goes to the device's end; undefined for any other layout. */
export function dataSegment({
  version,
  metadata,
}: LuksHeader): { readonly offset: number; readonly sector: number } | undefined {
  const segments = metadata["segments"];
  if (version !== 2 || !isJsonObject(segments) || Object.keys(segments).length !== 1) return undefined;
  const [segment] = Object.values(segments);
  if (!isJsonObject(segment) || segment["size"] !== "dynamic" || segment["integrity"] !== undefined) return undefined;
  const offset = readLuksNumber(segment["offset"]);
  const sector = readLuksInteger(segment["sector_size"]) ?? 0;
  return offset !== undefined && sector > 0 ? { offset, sector } : undefined;
}

/**
 * Why the kernel cannot map a device by its header, as the end of a sentence; undefined when it can, or when the layout is another. What
 * is encrypted must be whole sectors of the header's size (Linux dm-crypt.c), so that a device which was grown to an odd end opens no more.
 */
export function findMisfit(header: LuksHeader, bytes: number): string | undefined {
  const segment = dataSegment(header);
  if (segment === undefined) return undefined;
  const { offset, sector } = segment;
  if (bytes < offset + sector) return `is ${bytes} bytes, and its LUKS header's data begins at ${offset}`;
  if ((bytes - offset) % sector === 0) return undefined;
  return `is ${bytes} bytes, no multiple of the ${sector}-byte sectors of its LUKS header`;
}

/** What to do about a misfit. */
export const MISFIT_HINT = `make the partition or disk end on a multiple of ${4096 / SECTOR} sectors of ${SECTOR} bytes (no smaller than its data)`;

/** Throws HostError `device-misaligned` for a device that its own header does not fit. */
export function assertFits(
  header: LuksHeader,
  { path, bytes }: { readonly path: string; readonly bytes: number },
): void {
  const misfit = findMisfit(header, bytes);
  if (misfit === undefined) return;
  throw new HostError("device-misaligned", `cannot map "${path}": it ${misfit}: it opens no more once it is closed`, {
    hint: MISFIT_HINT,
    facts: { path, finding: misfit },
  });
}
