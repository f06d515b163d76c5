import { CANARY_PATH } from "../../core/canary.ts";
import { type Clock, systemClock } from "../../core/clock.ts";
import { randomNonce } from "../../core/crypto/random.ts";
import { sealSecret } from "../../core/crypto/sealed-secret.ts";
import { AuthError, errorMessage } from "../../core/errors.ts";
import { fingerprint } from "../../core/identity.ts";
import { jidAt } from "../../core/ids.ts";
import { type LayoutFacts, layoutFacts } from "../../core/luks-layout.ts";
import { rememberedTexts } from "../../core/remembered.ts";
import { KeyedLanes } from "../../core/keyed-lanes.ts";
import { recoveryTicket } from "../../core/recovery-ticket.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";
import type { PeerSession } from "../../wire/endpoints.ts";
import { verifyLease, verifyReceipt } from "../../wire/lease-signature.ts";
import type { Request, Response } from "../../wire/messages.ts";
import type { Reason } from "../policy/facts.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Change } from "../store/store.ts";
import type { LookedAt } from "../volumes/known-headers.ts";
import { CANARY_DECISION, makeCanary } from "./canary.ts";
import { denied, type LeaseDecision, type LeaseFacts, NO_POLICY } from "./decision.ts";
import {
  canBeMounted,
  leaseFact,
  leaseKey,
  leaseRecordSchema,
  type LeaseRecord,
  mountedKey,
  newLease,
  type NewLease,
  receiptFact,
  receiptKey,
  type ReceiptRecord,
  recordedLease,
} from "./lease-record.ts";
import type { LeasePoint, LeasesOptions, ResolvedSecret } from "./leases-options.ts";
import { decidePassphrase, takePassphrase } from "./passphrase.ts";
import { Throttle } from "./throttle.ts";

/** Refusals of one minion that are recorded: so many at once, then one in so many milliseconds. */
const REFUSALS = { burst: 20, everyMs: 10_000 };
/** A minion asks again and again for what is held; the same hold is recorded once in this time. */
const SAME_HOLD_MS = 60_000;
const RETRY_MS = 5000;
/** Of layouts that were read last: those of some thousand hosts. */
const READ_CHARS = 4 * 1024 * 1024;
const DENY: Response<"lease"> = { verdict: "deny" };

/** What was decided, and the very pillar that it was decided by; left out where no pillar has a say. */
interface Decided {
  readonly decision: LeaseDecision;
  readonly pillar?: CompiledPillar;
  /** The header may be one that the master does not know yet. */
  readonly header?: Extract<LookedAt, { readonly kind: "fits" }>;
}

/** Answers minions that ask for keys: decides, records, and only then releases (I4). */
export class Leases {
  readonly #options: LeasesOptions;
  readonly #clock: Clock;
  readonly #lanes = new KeyedLanes();
  readonly #layoutFacts = rememberedTexts(layoutFacts, READ_CHARS);
  readonly #refusals: Throttle;
  readonly #holds: Throttle;
  readonly #reached: (point: LeasePoint) => void;

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#refusals = new Throttle(REFUSALS.burst, REFUSALS.everyMs, this.#clock);
    this.#holds = new Throttle(1, SAME_HOLD_MS, this.#clock);
    this.#reached = options.reached ?? (() => {});
  }

  /**
   * Answers a lease request. Every refusal is the same constant answer, its reason in the record, event and log alone.
   * Throws AuthError `lease-signature` for a request that the session's own minion did not sign on this session.
   */
  async lease(session: PeerSession, body: Request<"lease">): Promise<Response<"lease">> {
    let facts = factsOf(session, body, this.#layoutFacts(body.layout));
    // threads that check signatures end in any order, so the place in the line is taken before
    return this.#lanes.run(`${facts.id} ${facts.path}`, async () => {
      if (!(await verifyLease(body, session.peer, session.handshakeHash))) {
        await this.#refuse(facts, denied("signature", "the signature is not by this minion on this session"));
        throw new AuthError("lease-signature", `cannot lease to "${facts.id}": the signature is wrong`);
      }
      this.#reached("asked");
      const header = await this.#lookAtHeader(facts, body);
      if (header.kind === "fits") facts = { ...facts, header: { ...facts.header, known: header.known } };
      return this.#answer(facts, header, body.ephemeral);
    });
  }

  /**
   * Keeps what became of a lease: of its use, and that what it opened is mounted, in any order; each once, however often it
   * is sent. Throws AuthError `receipt-signature`, `receipt-lease` for one of another minion, or a mount that cannot be.
   */
  async receipt(session: PeerSession, body: Request<"lease.receipt">): Promise<Response<"lease.receipt">> {
    const { leaseId, outcome } = body;
    const id = session.minionId;
    if (!(await verifyReceipt(body, session.peer, session.handshakeHash))) {
      throw new AuthError("receipt-signature", `cannot take the receipt of "${id}": the signature is wrong`);
    }
    const { store } = this.#options;
    const entry = /^[0-9a-f-]{1,80}$/u.test(leaseId) ? await store.get(leaseKey(leaseId)) : undefined;
    const lease = entry === undefined ? undefined : decodeRecord(leaseRecordSchema, entry);
    if (lease?.id !== id || lease.verdict !== "allow") {
      throw new AuthError("receipt-lease", `cannot take the receipt of "${id}": it has no such lease`);
    }
    if (outcome === "mounted" && !canBeMounted(lease)) {
      throw new AuthError(
        "receipt-lease",
        `cannot take the receipt of "${id}": the lease is for nothing that is mounted`,
      );
    }
    const key = outcome === "mounted" ? mountedKey(leaseId) : receiptKey(leaseId);
    await this.#lanes.run(key, async () => {
      if ((await store.get(key)) === undefined) await this.#keepReceipt(session, lease, body, key);
    });
    return {};
  }

  /** Compares the LUKS header with the one on record; what is no volume's key has none. */
  async #lookAtHeader(facts: LeaseFacts, body: Request<"lease">): Promise<LookedAt> {
    const { knownHeaders } = this.#options;
    const isPlain = facts.path === CANARY_PATH || recoveryTicket(facts.path) !== undefined;
    if (knownHeaders === undefined || isPlain) return { kind: "fits", known: false };
    try {
      return await knownHeaders.look(facts.id, body);
    } catch (error) {
      return { kind: "refused", code: "failed", text: errorMessage(error) };
    }
  }

  async #answer(facts: LeaseFacts, header: LookedAt, ephemeral: Uint8Array): Promise<Response<"lease">> {
    const decided = await this.#decide(facts, header);
    const { decision } = decided;
    this.#reached("decided");
    switch (decision.verdict) {
      case "allow":
        return this.#settled(decision, async (counted) => this.#release(facts, decided, ephemeral, counted));
      case "hold":
        await this.#refuse(facts, decision);
        return { verdict: "hold", retryMs: decision.retryMs ?? RETRY_MS };
      case "deny":
        await this.#refuse(facts, decision);
        return DENY;
      default:
        return decision.verdict satisfies never;
    }
  }

  /** What was recorded as released stays counted, whatever becomes of it afterwards: so it is in the store. */
  async #settled(
    { settle }: LeaseDecision,
    release: (counted: () => void) => Promise<Response<"lease">>,
  ): Promise<Response<"lease">> {
    let isCounted = false;
    try {
      return await release(() => (isCounted = true));
    } finally {
      settle?.(isCounted);
    }
  }

  async #decide(facts: LeaseFacts, header: LookedAt): Promise<Decided> {
    if (facts.path === CANARY_PATH) return { decision: CANARY_DECISION };
    if (recoveryTicket(facts.path) !== undefined) {
      const { passphrases, stopped } = this.#options;
      const why = stopped?.(facts);
      if (why) return { decision: { verdict: "deny", reasons: [why] } };
      return { decision: { ...decidePassphrase(facts, passphrases), stopped: () => stopped?.(facts) } };
    }
    try {
      const pillar = await this.#options.compilePillar(facts.id);
      const node = pillar.secrets.get(facts.path);
      if (!node) {
        return { decision: denied("not-in-pillar", "its pillar names no such secret") };
      }
      // no policy, and no approval, lets a header through that is not the volume's
      if (header.kind === "refused") return { decision: denied(header.code, header.text) };
      return { decision: (await this.#options.authorize?.(facts, node)) ?? NO_POLICY, pillar, header };
    } catch (error) {
      return { decision: denied("failed", errorMessage(error)) };
    }
  }

  async #release(
    facts: LeaseFacts,
    decided: Decided,
    ephemeral: Uint8Array,
    counted: () => void,
  ): Promise<Response<"lease">> {
    const { events, log, identity } = this.#options;
    const { decision } = decided;
    const resolved = await this.#resolve(facts, decided);
    if (resolved === undefined) return DENY;
    using secret = resolved.secret;
    this.#reached("resolved");
    const stopped = decision.stopped?.();
    if (stopped) return this.#withdrawn(facts, decision, stopped);
    const { version, generated } = resolved;
    let record: LeaseRecord;
    try {
      await decided.header?.note?.();
      record = await this.#record(this.#newLease(facts, decision, version), decision.changes);
    } catch (error) {
      // I4: what cannot be recorded is not released
      const reason = `not released: the record cannot be written: ${errorMessage(error)}`;
      events.emit(`lease/failed/${facts.id}`, { ...facts, header: { ...facts.header }, reason });
      log.error({ ...facts, reason }, "lease failed");
      return DENY;
    }
    counted();
    this.#reached("recorded");
    // nothing is awaited from here on: a revocation is either seen, or comes after the key
    const late = decision.stopped?.();
    if (late) return this.#withdrawn(facts, decision, late);
    const sealed = sealSecret(secret, identity.dh, ephemeral);
    events.emit(`lease/allow/${facts.id}`, record);
    log.info(record, "lease");
    this.#reached("sealed");
    return { verdict: "allow", leaseId: record.leaseId, version, generated, sealed };
  }

  /** Refuses what was allowed when it was decided; a record says so, also after the one that allowed it. */
  async #withdrawn(facts: LeaseFacts, decision: LeaseDecision, why: Reason): Promise<Response<"lease">> {
    await this.#refuse(facts, { ...decision, verdict: "deny", reasons: [why] });
    return DENY;
  }

  /** The secret; undefined, the refusal recorded, when there is none to be had. */
  async #resolve(facts: LeaseFacts, { decision, pillar }: Decided): Promise<ResolvedSecret | undefined> {
    if (facts.path === CANARY_PATH) return makeCanary();
    const ticket = recoveryTicket(facts.path);
    let failure = denied("no-secret", "there is no such secret yet: only a format makes one");
    try {
      const { resolveSecret, passphrases } = this.#options;
      const resolved =
        ticket === undefined
          ? pillar && (await resolveSecret(facts.id, pillar, facts.path, facts.purpose, facts.asked))
          : takePassphrase(facts.id, ticket, passphrases);
      if (resolved !== undefined) return resolved;
    } catch (error) {
      failure = denied("failed", errorMessage(error));
    }
    await this.#refuse(facts, { ...decision, ...failure });
    return undefined;
  }

  /** Records a refusal, unless the same minion has had too many recorded. Never throws: refused is refused. */
  async #refuse(facts: LeaseFacts, decision: LeaseDecision): Promise<void> {
    const { events, log } = this.#options;
    const codes = decision.reasons.map(({ code }) => code).join(" ");
    const same = `${facts.id} ${facts.path} ${facts.purpose} ${facts.bootId} ${codes}`;
    const repeated = decision.verdict === "hold" ? this.#holds.take(same) : 0;
    if (repeated === undefined) return;
    const more = this.#refusals.take(facts.id);
    if (more === undefined) return;
    const suppressed = repeated + more;
    const lease = { ...this.#newLease(facts, decision, 0), suppressed };
    log.warn(lease, decision.verdict === "hold" ? "lease held" : "lease denied");
    try {
      events.emit(`lease/${decision.verdict}/${facts.id}`, await this.#record(lease));
    } catch (error) {
      events.emit(`lease/${decision.verdict}/${facts.id}`, { ...lease, unrecorded: errorMessage(error) });
      log.error({ id: facts.id, err: errorMessage(error) }, "cannot record a refused lease");
    }
  }

  /** Resolves when the lease is in the audit chain and in the list, both on disk. */
  async #record(lease: NewLease, changes: readonly Change[] = []): Promise<LeaseRecord> {
    const { audit, keepMs } = this.#options;
    const record = await audit.append(leaseFact(lease), (place) => [
      putRecord(leaseKey(lease.leaseId), recordedLease(lease, place), { ttlMs: keepMs }),
      ...changes,
    ]);
    return recordedLease(lease, record);
  }

  async #keepReceipt(
    session: PeerSession,
    lease: LeaseRecord,
    body: Request<"lease.receipt">,
    key: string,
  ): Promise<void> {
    const { audit, events, log, keepMs, knownHeaders } = this.#options;
    const { leaseId, outcome, wiped, tookMs } = body;
    const at = this.#clock.now();
    const kept = (seq: number): ReceiptRecord => ({ leaseId, seq, at, id: lease.id, outcome, wiped, tookMs });
    const { seq } = await audit.append(receiptFact(at, session, lease, body), (place) => [
      putRecord(key, kept(place.seq), { ttlMs: keepMs }),
    ]);
    if (outcome === "opened") await knownHeaders?.opened(lease);
    const record = kept(seq);
    events.emit(`lease/receipt/${lease.id}`, { ...record, path: lease.path });
    if (wiped) log.info(record, "lease receipt");
    else log.warn(record, "the minion could not say that it wiped the key");
  }

  #newLease(facts: LeaseFacts, decision: LeaseDecision, version: number): NewLease {
    const at = this.#clock.now();
    const leaseId = `${jidAt(at, 0)}-${randomNonce(8).toString("hex")}`;
    return newLease(leaseId, at, facts, decision, version);
  }
}

function factsOf({ minionId, peer, address }: PeerSession, body: Request<"lease">, layout: LayoutFacts): LeaseFacts {
  const { path, purpose, version: asked, device, luksUuid, bootId } = body;
  const header = { ...layout, known: false };
  const about = { path, purpose, asked, device, luksUuid, bootId, header };
  return { id: minionId, fingerprint: fingerprint(peer), address, ...about };
}
