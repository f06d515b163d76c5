import { AuthError, errorMessage, HostError, TransportError } from "../../core/errors.ts";
import type { EscrowedHeader } from "../../core/volume-header.ts";
import { holding } from "../../states/devices/held-device.ts";
import { keyOpens } from "../../states/devices/luks-passphrase.ts";
import type { LuksFacts } from "./inspect-luks.ts";
import type { VolumeContext } from "./runner.ts";

/** How long a test waits for a lease that somebody has to approve. */
const LEASE_WAIT_MS = 5000;

/** What trying the stored key showed. */
export type KeyTest =
  /** `current`: the version that a start would get. `how`: a lease was tried here, or the master computed it. */
  | { readonly kind: "opens"; readonly version: number; readonly ms: number; readonly how: "lease" | "master" }
  /** Only a version that is not the current one opens it: a start would fail. */
  | { readonly kind: "older"; readonly version: number; readonly current: number; readonly ms: number }
  | { readonly kind: "does-not-open"; readonly current: number; readonly ms: number }
  /** No key was to be had, and the master has no proof of its own for this very header. */
  | { readonly kind: "unknown"; readonly reason: string };

interface Tried {
  readonly version: number;
  readonly opens: boolean;
  readonly ms: number;
}

async function tryVersion(context: VolumeContext, device: string, facts: LuksFacts, version?: number): Promise<Tried> {
  const { luks } = context.volume;
  const subject = { device, luksUuid: facts.header.uuid, waitMs: LEASE_WAIT_MS };
  const asked = version === undefined ? subject : { ...subject, version };
  return context.lease(luks?.key ?? "", "check", asked, async ({ secret, version: leased }) => {
    const named = facts.slots.find((slot) => slot.version === leased)?.slot;
    const from = performance.now();
    // the slot that the header names for it first: the others may cost a second each
    const opens =
      (named !== undefined && (await keyOpens(context, device, secret, named))) ||
      (await keyOpens(context, device, secret));
    return { version: leased, opens, ms: Math.round(performance.now() - from) };
  });
}

/**
 * Tests the stored key against a header without touching the mapping. When no key is given out for it (policy holds or
 * refuses the lease), the master's own proof over a header in escrow with this very digest counts in its place.
 */
export async function testStoredKey(
  given: VolumeContext,
  device: string,
  facts: LuksFacts,
  headers: readonly EscrowedHeader[],
): Promise<KeyTest> {
  return holding(given.at("luks"), device, (held) => testOn(held, device, facts, headers));
}

async function testOn(
  context: VolumeContext,
  device: string,
  facts: LuksFacts,
  headers: readonly EscrowedHeader[],
): Promise<KeyTest> {
  try {
    const current = await tryVersion(context, device, facts);
    if (current.opens) return { kind: "opens", version: current.version, ms: current.ms, how: "lease" };
    const others = new Set(
      facts.slots.map(({ version }) => version).filter((one) => one > 0 && one !== current.version),
    );
    for (const version of others) {
      const older = await tryOlder(context, device, facts, version);
      if (older?.opens === true) return { kind: "older", version, current: current.version, ms: older.ms };
    }
    return { kind: "does-not-open", current: current.version, ms: current.ms };
  } catch (error) {
    const isUnsafe = error instanceof HostError && error.code === "unsafe-header";
    if (!isUnsafe && !(error instanceof AuthError) && !(error instanceof TransportError)) throw error;
    context.signal.throwIfAborted();
    const proof = headers.find(
      ({ digest, proven }) => digest === facts.digest && facts.digest !== "" && proven.version > 0,
    );
    if (proof) return { kind: "opens", version: proof.proven.version, ms: 0, how: "master" };
    return { kind: "unknown", reason: errorMessage(error) };
  }
}

/** One of the versions that the header names; undefined when the master does not give it out. */
async function tryOlder(context: VolumeContext, device: string, facts: LuksFacts, version: number) {
  try {
    return await tryVersion(context, device, facts, version);
  } catch (error) {
    if (error instanceof AuthError || error instanceof TransportError) return undefined;
    throw error;
  }
}
