import { errorMessage } from "../../core/errors.ts";
import { KeyedLanes } from "../../core/keyed-lanes.ts";
import { Lane } from "../../core/lane.ts";
import { testKeyslot } from "../../core/luks2-keyslot.ts";
import { type LuksHeader, parseLuksBytes } from "../../states/devices/luks-header.ts";
import { keyslotsOf } from "../../states/devices/luks-slots.ts";
import { findLuksToken } from "../../states/devices/luks-token.ts";
import type { Vault } from "./vault.ts";

/** Keys that are tried at most, the likely ones first. */
const MAX_TRIES = 8;
/** One try at a time: a slot of a person's may want 1 GiB of memory. */
const lane = new Lane();
/** Of each host one try waits, so that one with many headers does not keep the others waiting. */
const hosts = new KeyedLanes();

/** Stored versions with the slots that they may open: those that the header's token names, then all others at any slot. */
function candidates(header: LuksHeader, versions: readonly number[]) {
  const token = findLuksToken(header);
  const named = token.kind === "valid" ? token.token.machine : [];
  const slots = keyslotsOf(header);
  const first = named.filter(({ version }) => versions.includes(version)).toSorted((a, b) => b.version - a.version);
  const others = versions.flatMap((version) => slots.map(({ slot }) => ({ version, slot })));
  const isNamed = (one: { version: number; slot: number }) =>
    first.some(({ version, slot }) => version === one.version && slot === one.slot);
  // cheap slots before those that cost a second
  const cost = ({ slot }: { slot: number }) => (slots.find((each) => each.slot === slot)?.kdf === "pbkdf2" ? 0 : 1);
  return [...first, ...others.filter((one) => !isNamed(one)).toSorted((a, b) => cost(a) - cost(b))].slice(0, MAX_TRIES);
}

/**
 * The stored version of a key that opens this header, computed by the master alone: no key leaves it. 0 when none of those
 * tried does.
 */
export async function findOpeningVersion(
  bytes: Buffer,
  { vault, id, path }: { readonly vault: Vault; readonly id: string; readonly path: string },
  report: (reason: string) => void,
): Promise<number> {
  const finding = await parseLuksBytes(bytes);
  if (finding.kind !== "valid" || path === "") return 0;
  const { header } = finding;
  for (const { version, slot } of candidates(header, await vault.versions(id, path))) {
    try {
      using key = await vault.key(id, path, version);
      if (key === undefined) continue;
      const verdict = await hosts.run(id, async () =>
        lane.run(async () => testKeyslot(bytes, header.metadata, slot, key)),
      );
      if (verdict === "opens") return version;
    } catch (error) {
      report(`version ${version}: ${errorMessage(error)}`);
    }
  }
  return 0;
}
