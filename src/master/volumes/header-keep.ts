import { type EscrowedHeader, MAX_HEADERS } from "../../core/volume-header.ts";

/** Kept of each volume, whatever they are. */
const NEWEST = 20;

type Known = Pick<EscrowedHeader, "proven" | "slots">;

/**
 * Which headers of one volume stay in escrow, of all of them, the newest first: never more than a host is told of. The newest
 * twenty; for each version of the key that the newest header has a slot of, the newest one that a stored key was proven to
 * open and the newest one with such a slot; then, as far as there is room, the same for every other stored version, the
 * latest first. `stored`: numbers of the stored versions, newest first.
 */
export function headersToKeep<H extends Known>(headers: readonly H[], stored: readonly number[]): ReadonlySet<H> {
  const [newest] = headers;
  const opens = new Set(newest?.slots.map(({ version }) => version));
  const versions = [
    ...stored.filter((version) => opens.has(version)),
    ...stored.filter((version) => !opens.has(version)),
  ];
  const kept = new Set(headers.slice(0, NEWEST));
  for (const version of versions) {
    const proven = headers.find((header) => header.proven.version === version);
    const named = headers.find(({ slots }) => slots.some((slot) => slot.version === version));
    for (const header of [proven, named]) if (header && kept.size < MAX_HEADERS) kept.add(header);
  }
  return kept;
}
