import { AuthError, errorMessage, HostError, LatchkeyError, TransportError } from "../../core/errors.ts";
import { findMapping } from "../../states/devices/block-device.ts";
import { holding } from "../../states/devices/held-device.ts";
import { type LuksHeader, readLuksHeader } from "../../states/devices/luks-header.ts";
import { keyOpens } from "../../states/devices/luks-passphrase.ts";
import { findLuksToken } from "../../states/devices/luks-token.ts";
import { volumePlaces } from "../../states/volume/places.ts";
import { readProof } from "./check-note.ts";
import { readLuksFacts } from "./inspect-luks.ts";
import { mappingName } from "./suspended.ts";
import type { VolumeContext } from "./runner.ts";

/** What of a volume's context the proof needs. */
export interface GuardContext extends Pick<VolumeContext, "host" | "lease" | "note" | "signal" | "volume"> {
  readonly machine: { readonly config: { readonly stateDir: string } };
}

/** How a volume is known to open again. `unneeded`: it has no key, or there is no header whose key could be lost. */
export type KeptKey =
  | { readonly kind: "unneeded" }
  | { readonly kind: "proven"; readonly version: number }
  | { readonly kind: "remembered"; readonly version: number; readonly at: number }
  | { readonly kind: "forced"; readonly reason: string };

/** How a volume is closed. */
export interface GuardOptions {
  /** Go on although the key would not be kept. */
  readonly force: boolean;
}

/** How long the proof waits for a master that is away, or for a lease that is held. */
const WAIT_MS = 15_000;
/** How many versions before the current one are tried on a header that does not say which are its own. */
const TRIED_BEFORE = 4;

/** The current version does not open it, but an older one does: the volume is not lost, and does not come up by itself. */
interface OlderOpens {
  readonly kind: "older";
  readonly version: number;
  readonly current: number;
}
type Finding = Exclude<KeptKey, { readonly kind: "forced" }> | OlderOpens | { readonly kind: "lost"; why: string };

/**
 * To be called before a volume's mapping is closed: proves with a fresh lease that the stored key opens the header that is
 * on the disk now. While the master is away, or holds the lease, a proof that is remembered for this very header does.
 * Else throws HostError `key-not-kept` (or `key-not-current` when only an older version opens it); with `force` it
 * notes that and goes on.
 */
export async function assertKeyKept(context: GuardContext, options: GuardOptions): Promise<KeptKey> {
  const finding = await findKeptKey(context);
  const { name } = context.volume;
  switch (finding.kind) {
    case "unneeded":
      return finding;
    case "proven":
      context.note(`the stored key (version ${finding.version}) opens the header`);
      return finding;
    case "remembered": {
      const when = new Date(finding.at).toISOString();
      context.note(
        `the master could not be asked; version ${finding.version} of the key opened this header at ${when}`,
      );
      return finding;
    }
    case "older":
    case "lost": {
      const error = finding.kind === "older" ? notCurrent(name, finding) : notKept(name, finding.why);
      if (!options.force) throw error;
      context.note(`forced: ${error.message}`);
      return { kind: "forced", reason: error.message };
    }
    default:
      return finding satisfies never;
  }
}

function notKept(name: string, why: string): HostError {
  return new HostError(
    "key-not-kept",
    `no verified copy of the key of volume ${name} would remain: restore the key or use --force to skip this safeguard`,
    {
      hint: `${why}; while it is up, \`latchkey volume rescue\` stores a working key`,
      facts: { volume: name, why },
    },
  );
}

function notCurrent(name: string, { version, current }: OlderOpens): HostError {
  return new HostError(
    "key-not-current",
    `volume ${name} would not come up again: version ${version} of its key opens it, the current version ${current} does not`,
    {
      hint: "`latchkey volume rescue` stores a working key, --force skips this safeguard",
      facts: { volume: name, version, current },
    },
  );
}

async function findKeptKey(context: GuardContext): Promise<Finding> {
  const { host, volume } = context;
  if (volume.luks === undefined) return { kind: "unneeded" };
  const { encrypted } = await volumePlaces(host, volume);
  const luks = encrypted === undefined ? undefined : await readLuksHeader(host, encrypted);
  if (encrypted === undefined || luks === undefined || luks.kind !== "valid") {
    const isOpen = (await findMapping(host, mappingName(volume))) !== undefined;
    if (!isOpen && luks?.kind !== "damaged") return { kind: "unneeded" };
    return { kind: "lost", why: `${encrypted ?? "its device"} has no header that reads` };
  }
  try {
    const { key } = volume.luks;
    return await holding(context, encrypted, async (held) => {
      const read = await readLuksHeader(held.host, encrypted);
      if (read.kind === "valid") return prove(held, key, encrypted, read.header);
      return { kind: "lost" as const, why: `${encrypted} has no header that reads` };
    });
  } catch (error) {
    if (!(error instanceof LatchkeyError) || context.signal.aborted) throw error;
    const isUnanswered = error instanceof TransportError;
    // a refusal is an answer: there may be no such key any more
    const proof = isUnanswered ? await rememberedProof(context, encrypted) : undefined;
    if (proof !== undefined && proof.version > 0) return { kind: "remembered", ...proof };
    const isDenied = error instanceof AuthError && error.code === "lease-denied";
    const more = isDenied ? ` (\`latchkey lease list\` says why; a release policy must allow the purpose check)` : "";
    return { kind: "lost", why: `${errorMessage(error)}${more}` };
  }
}

/** What the last check on this machine proved, when the header is still the very same one. */
async function rememberedProof({ host, machine, volume }: GuardContext, device: string) {
  const facts = await readLuksFacts(host, device);
  return facts && readProof(host, machine.config.stateDir, volume.name, facts.digest);
}

/** Tests the current version of the key against the header, then those that the header says it had. */
async function prove(context: GuardContext, key: string, device: string, header: LuksHeader): Promise<Finding> {
  const subject = { device, luksUuid: header.uuid, waitMs: WAIT_MS };
  const current = await context.lease(key, "check", subject, async ({ secret, version }) => ({
    version,
    opens: await keyOpens(context, device, secret),
  }));
  if (current.opens) return { kind: "proven", version: current.version };
  for (const version of olderVersions(header, current.version)) {
    if (await olderOpens(context, key, { ...subject, version })) {
      return { kind: "older", version, current: current.version };
    }
  }
  return { kind: "lost", why: `the stored key (version ${current.version}) does not open ${device}` };
}

function olderVersions(header: LuksHeader, current: number): readonly number[] {
  const finding = findLuksToken(header);
  const known = finding.kind === "valid" ? finding.token.machine.map(({ version }) => version) : [];
  const guessed = Array.from({ length: TRIED_BEFORE }, (_, index) => current - 1 - index).filter((one) => one > 0);
  return [...new Set([...known, ...guessed])].filter((version) => version !== current);
}

async function olderOpens(
  context: GuardContext,
  key: string,
  subject: { readonly device: string; readonly luksUuid: string; readonly version: number; readonly waitMs: number },
): Promise<boolean> {
  try {
    return await context.lease(key, "check", subject, ({ secret }) => keyOpens(context, subject.device, secret));
  } catch (error) {
    // there is no such version, or it is not to be had: then it proves nothing
    if (error instanceof AuthError || error instanceof TransportError) return false;
    throw error;
  }
}
