import { CANARY_PATH } from "../core/canary.ts";
import type { Clock } from "../core/clock.ts";
import { openSealed } from "../core/crypto/sealed-secret.ts";
import { generateDhKey } from "../core/crypto/x25519.ts";
import { AuthError, ConfigError, ProtocolError, TransportError } from "../core/errors.ts";
import type { Secret } from "../core/secret.ts";
import { type LeasePurpose, OUTCOME_OF, type UseOutcome } from "../core/lease-purpose.ts";
import type { ApplyContext, LeasedKey, LeaseRecord, LeaseSubject } from "../states/state.ts";
import { readHeaderClaim } from "../states/devices/luks-layout.ts";
import type { MasterConnection } from "../wire/endpoints.ts";
import { signLease } from "../wire/lease-signature.ts";
import type { Response } from "../wire/messages.ts";
import { assertSameHeader, explainDenial } from "./lease-header.ts";
import { createLeaseReceipts, type LeaseReceiptsOptions } from "./lease-receipts.ts";

/** What leases of one run need. */
export interface LeaseOptions extends LeaseReceiptsOptions {
  readonly bootId: string;
  readonly random: () => number;
  /** How long one lease may wait for the master or for approval; Infinity for a startup run. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
  /** Hears in plain words what a lease waits for. */
  readonly onWait: (reason: string) => void;
}

/** The leases of one run. */
export interface Leases {
  readonly lease: ApplyContext["lease"];
  readonly mounted: NonNullable<ApplyContext["mounted"]>;
  readonly records: () => readonly LeaseRecord[];
  /** Resolves when every receipt is delivered or given up. */
  readonly settle: () => Promise<void>;
}

const MAX_HOLD_MS = 60_000;
const REFERENCE = /^secret:(.+)$/su;

type Verdict = Response<"lease">;
type Allowed = Extract<Verdict, { readonly verdict: "allow" }>;

interface Granted {
  readonly allowed: Allowed;
  readonly secret: Secret;
}

/** The pillar path in `secret:<path>`. Throws ConfigError `bad-secret-ref`: nothing else names a secret. */
export function secretPath(ref: string): string {
  const path = REFERENCE.exec(ref)?.[1];
  if (path === undefined || path.length > 500 || /[\p{Cc}]/u.test(path)) {
    throw new ConfigError("bad-secret-ref", "cannot lease a key: the value is no secret of the pillar", {
      hint: "write the value as !secret or !generate in the host's pillar, and refer to it",
    });
  }
  return path;
}

/** Leases for one run: every key is asked for with an ephemeral key of its own and wiped when its use ends (I5). */
export function createLeases(options: LeaseOptions): Leases {
  const { clock } = options;
  const records: LeaseRecord[] = [];
  const receipts = createLeaseReceipts(options);

  const lease: ApplyContext["lease"] = async (ref, purpose, subject, use) => {
    const path = secretPath(ref);
    const { allowed, secret } = await obtain(options, path, purpose, subject);
    const leasedAt = clock.now();
    const begunAt = clock.monotonicMs();
    let usedAt = leasedAt;
    let outcome: UseOutcome = "failed";
    try {
      const key: LeasedKey = { secret, generated: allowed.generated, version: allowed.version };
      usedAt = clock.now();
      const result = await use(key);
      // a canary opens nothing, though it goes the way of a key that does
      outcome = path === CANARY_PATH ? "used" : OUTCOME_OF[purpose];
      return result;
    } finally {
      secret.wipe();
      records.push({ ref, purpose, leasedAt, usedAt, wipedAt: clock.now() });
      receipts.used({ leaseId: allowed.leaseId, purpose, device: subject.device, begunAt }, outcome);
    }
  };
  return { lease, mounted: receipts.mounted, records: () => records, settle: receipts.settle };
}

async function obtain(
  options: LeaseOptions,
  path: string,
  purpose: LeasePurpose,
  subject: LeaseSubject,
): Promise<Granted> {
  const { clock, link, signal } = options;
  const deadline = clock.monotonicMs() + Math.min(options.waitMs, subject.waitMs ?? Number.POSITIVE_INFINITY);
  let held = false;
  for (;;) {
    const patience = { waitMs: deadline - clock.monotonicMs(), signal, onWait: options.onWait };
    const retry = link.connection.leaseRetry;
    const answer = await link.persist(patience, (live) => askOnce(live, options, path, purpose, subject));
    if ("secret" in answer) return answer;
    if (answer.verdict === "deny") {
      throw new AuthError("lease-denied", `cannot lease "secret:${path}": the master refused`, {
        hint: "the master's audit log tells why",
        facts: { ref: `secret:${path}`, device: subject.device },
      });
    }
    const pauseMs = Math.min(answer.retryMs, MAX_HOLD_MS) * (0.9 + 0.2 * options.random());
    if (clock.monotonicMs() >= deadline) {
      throw new TransportError("lease-held", `cannot lease "secret:${path}": it waits for approval at the master`, {
        hint: "approve it at the master, then run again",
      });
    }
    if (!held) options.onWait(`the lease of "secret:${path}" waits for approval at the master`);
    held = true;
    await pauseUnless(retry, Math.min(pauseMs, deadline - clock.monotonicMs()), clock, signal);
  }
}

/** Waits `ms`, or until `retry` resolves. */
async function pauseUnless(retry: Promise<void>, ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  const pause = clock.sleep(ms, AbortSignal.any([signal, stop.signal]));
  try {
    await Promise.race([pause, retry]);
  } finally {
    stop.abort();
    await pause.catch(() => undefined);
  }
  signal.throwIfAborted();
}

type Answer = Granted | Exclude<Verdict, Allowed>;

async function askOnce(
  live: MasterConnection,
  options: LeaseOptions,
  path: string,
  purpose: LeasePurpose,
  subject: LeaseSubject,
): Promise<Answer> {
  const { identity, bootId, signal, host } = options;
  const { handshakeHash, master } = live;
  const header = await readHeaderClaim(host, subject.device);
  assertSameHeader(subject, header);
  using ephemeral = generateDhKey();
  const unsigned = {
    path,
    purpose,
    version: subject.version ?? 0,
    device: subject.device,
    luksUuid: header.luksUuid || (subject.luksUuid ?? ""),
    layout: header.layout,
    reencrypts: subject.reencrypts ?? false,
    bootId,
    ephemeral: ephemeral.publicKey,
  };
  const answer = await sameSession(live, handshakeHash, () =>
    live.request("lease", signLease(unsigned, identity, handshakeHash), { signal }),
  );
  if (answer.verdict === "deny") await explainDenial(live, path, subject.device, header, signal);
  if (answer.verdict !== "allow") return answer;
  const secret = openSealed(answer.sealed, ephemeral, master.dhKey);
  if (secret.length === 0) throw new ProtocolError("empty-secret", `cannot use "secret:${path}": it is empty`);
  return { allowed: answer, secret };
}

/**
 * A request signed for a session that is gone was refused by its successor: that is a lost connection (TransportError
 * `session-changed`), no verdict.
 */
export async function sameSession<T>(
  live: MasterConnection,
  handshakeHash: Uint8Array,
  act: () => Promise<T>,
): Promise<T> {
  const before = Buffer.from(handshakeHash);
  try {
    return await act();
  } catch (thrown) {
    const changed = live.state.kind !== "connected" || !before.equals(live.handshakeHash);
    if (!(thrown instanceof AuthError) || !changed) throw thrown;
    throw new TransportError("session-changed", "cannot ask the master: the session changed meanwhile", {
      cause: thrown,
    });
  }
}
