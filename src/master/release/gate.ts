import type { JsonObject } from "../../core/json.ts";
import type { LeasePurpose } from "../../core/lease-purpose.ts";
import { globMatcher } from "../../sls/glob.ts";
import type { HeaderFacts } from "../leases/decision.ts";
import { settledBy } from "../policy/apply-rules.ts";
import { Answers, type Evaluate } from "../policy/answers.ts";
import { askExpressions, decide } from "../policy/decide.ts";
import type { Decision, Reason, ReleaseFacts } from "../policy/facts.ts";
import type { ReleasePolicy } from "../policy/rules.ts";
import type { Change } from "../store/store.ts";
import type { HistoryFacts, LeaseHistory } from "./history.ts";
import { hashReasons, type Hold } from "./hold-record.ts";
import type { HoldRequest, Holds } from "./holds.ts";
import type { Liveness } from "./liveness.ts";
import type { LoadedPolicy, PolicyFile } from "./policy-file.ts";
import type { Askers } from "./askers.ts";
import type { RebootWindows } from "./reboot-windows.ts";
import type { Locks } from "./locks.ts";
import type { Revocations } from "./revocations.ts";

/** What the master knows of a lease request when it asks whether to release. */
export interface GateRequest {
  readonly id: string;
  readonly address: string;
  readonly path: string;
  readonly purpose: LeasePurpose;
  /** Whether it is a format for which the master makes a new key; left out, it hands out one that exists. */
  readonly makesKey?: boolean;
  readonly device: string;
  readonly luksUuid: string;
  readonly bootId: string;
  /** What the host says of its LUKS header; left out where none is asked about. */
  readonly header?: HeaderFacts;
}

interface Verdict {
  readonly reasons: readonly Reason[];
  /** Name of the rule that decided, if one did. */
  readonly rule?: string;
  /** SHA-256 of the release policy in force; left out without one. */
  readonly policyHash?: string;
}

/**
 * A verdict and what hangs on it. An allowed release is counted from the moment it is decided: `changes` belong into the
 * same atomic write as its record, `stopped` must be asked right before the key leaves, and `settle` called when it is
 * known whether that record is on disk.
 */
export type GateDecision =
  | (Verdict & {
      readonly verdict: "allow";
      readonly changes: readonly Change[];
      /** What forbids it by now: a revocation that came after the decision. */
      readonly stopped: () => Reason | undefined;
      readonly settle: (released: boolean) => void;
    })
  | (Verdict & { readonly verdict: "hold"; readonly retryMs: number })
  | (Verdict & { readonly verdict: "deny" });

/** What `explain` says: the decision, without any of its consequences. */
export interface Explanation extends Verdict {
  readonly verdict: Decision["verdict"];
  readonly facts: ReleaseFacts;
  readonly passedOver: Decision["passedOver"];
  readonly approvalsNeeded: Decision["approvalsNeeded"];
}

export interface GateOptions {
  readonly policy: PolicyFile;
  readonly history: LeaseHistory;
  readonly holds: Holds;
  readonly windows: RebootWindows;
  readonly askers: Askers;
  readonly revocations: Revocations;
  readonly locks: Locks;
  readonly liveness: Pick<Liveness, "silentMs">;
  readonly grainsOf: (id: string) => JsonObject;
  /** Evaluates what the policy's expressions come to. */
  readonly evaluate: Evaluate;
  readonly now: () => number;
  /** Hears of each new hold. */
  readonly held: (hold: Hold) => void;
}

const RETRY_MIN_MS = 2000;
const RETRY_MAX_MS = 30_000;
const reason = (code: string, text: string): Reason => ({ code, text });

interface Weighed {
  readonly decision: Decision;
  readonly facts: ReleaseFacts;
}

/**
 * Decides who gets which key, by the release policy and by what operators said. All that it weighs is in memory but
 * what expressions come to, which is asked for before; nothing is awaited between weighing and counting: two requests at once cannot both take what is there once.
 */
export class ReleaseGate {
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** The verdict over a request that the host's own pillar covers. Throws when a hold cannot be stored. */
  async authorize(request: GateRequest): Promise<GateDecision> {
    const { holds, history, windows, askers, held, now } = this.#options;
    const at = now();
    const { loaded, answers } = await this.#prepare(request, at);
    askers.seen(request.id, request.bootId, at);
    const hashed = loaded.hash === "" ? {} : { policyHash: loaded.hash };
    const deny = (why: Reason): GateDecision => ({ verdict: "deny", reasons: [why], ...hashed });
    const revoked = this.#revoked(request);
    if (revoked) return deny(revoked);
    if (loaded.kind === "broken") return deny(reason("policy-broken", loaded.problem));
    const denied = holds.denied(request);
    if (denied) return deny(reason("denied-by-operator", `${denied.by} denied it for this boot`));
    const locked = this.#locked(request);
    // no hold that could be approved: only unlocking ends it
    if (locked) return { verdict: "hold", reasons: [locked], retryMs: RETRY_MAX_MS, ...hashed };

    const policy = loaded.kind === "policy" ? loaded.policy : undefined;
    const { decision, facts } = this.#weigh(policy, request, at, answers);
    const { reasons, rule } = decision;
    const verdict = { reasons, ...hashed, ...(rule === undefined ? {} : { rule }) };
    if (decision.verdict === "deny") return { verdict: "deny", ...verdict };
    if (decision.verdict === "hold") {
      const noted = await holds.note({ ...request, askers: this.#askers(request, at) }, decision);
      if (noted === "full") return deny(reason("too-many-holds", "too many leases of this host wait already"));
      if (noted.isNew) held(noted.hold);
      const ageMs = at - noted.hold.since;
      return { verdict: "hold", ...verdict, retryMs: Math.min(RETRY_MAX_MS, Math.max(RETRY_MIN_MS, ageMs / 4)) | 0 };
    }
    const counted = history.reserve(request, at, settledBy(policy, facts, decision));
    const used = holds.consume(request);
    // a lease in the boot before says nothing of the one that was announced
    const tied = facts.newBoot === true ? windows.use(request.id, request.bootId, at) : [];
    const changes = [...counted.changes, ...used.changes, ...tied];
    const settle = (released: boolean) => {
      if (released) return;
      counted.cancel();
      used.restore();
    };
    return {
      verdict: "allow",
      ...verdict,
      changes,
      stopped: () => this.stopped(request),
      settle,
    };
  }

  /** What forbids a request whatever the policy says: that its host, or this secret, was revoked or locked. */
  stopped(request: Pick<GateRequest, "id" | "path">): Reason | undefined {
    return this.#revoked(request) ?? this.#locked(request);
  }

  /**
   * What would be said to a request, and why; nothing is counted, noted or opened. Whether the host's pillar names the
   * secret is not looked at. `at` is a moment to decide for (milliseconds since the epoch).
   */
  async explain(request: GateRequest, at: number): Promise<Explanation> {
    const { loaded, answers } = await this.#prepare(request, at);
    const policy = loaded.kind === "policy" ? loaded.policy : undefined;
    const { decision, facts } = this.#weigh(policy, request, at, answers);
    const revoked = this.#revoked(request);
    const denied = this.#options.holds.denied(request);
    const stop = revoked
      ? revoked
      : loaded.kind === "broken"
        ? reason("policy-broken", loaded.problem)
        : denied && reason("denied-by-operator", `${denied.by} denied it for this boot`);
    const { rule, passedOver, approvalsNeeded } = decision;
    const locked = stop ? undefined : this.#locked(request);
    if (locked) {
      const none = { passedOver: [], approvalsNeeded: undefined };
      return { verdict: "hold", reasons: [locked], policyHash: loaded.hash, facts, ...none };
    }
    if (stop) {
      const none = { passedOver: [], approvalsNeeded: undefined };
      return { verdict: "deny", reasons: [stop], policyHash: loaded.hash, facts, ...none };
    }
    return {
      verdict: decision.verdict,
      reasons: decision.reasons,
      policyHash: loaded.hash,
      facts,
      passedOver,
      approvalsNeeded,
      ...(rule === undefined ? {} : { rule }),
    };
  }

  /** The policy in force, and what those of its expressions come to that the request may need: without any, at once. */
  async #prepare(
    request: GateRequest,
    at: number,
  ): Promise<{ readonly loaded: LoadedPolicy; readonly answers: Answers }> {
    const { policy: file, evaluate } = this.#options;
    const answers = new Answers(request.id, evaluate);
    for (;;) {
      const loaded = await file.current();
      if (loaded.kind !== "policy" || !loaded.policy.hasExpressions) return { loaded, answers };
      this.#weigh(loaded.policy, request, at, answers);
      if (!answers.isWanting) return { loaded, answers };
      await answers.fetch();
    }
  }

  /**
   * Decides without approvals first: that says what there would be to approve. Only approvals that were given for just
   * that count then.
   */
  #weigh(policy: ReleasePolicy | undefined, request: GateRequest, at: number, { judge }: Answers): Weighed {
    const { holds } = this.#options;
    const facts = this.#facts(policy, request, at);
    if (policy?.hasExpressions === true) askExpressions(policy, facts, judge);
    const bare = decide(policy, facts, judge);
    const hold = bare.verdict === "hold" ? holds.find(request) : undefined;
    if (hold === undefined || hold.reasonsHash !== hashReasons(bare.rule, bare.reasons)) {
      return { decision: bare, facts };
    }
    const askers = [...hold.askers, ...facts.askers];
    const approvals = holds
      .approvalsFor(hold, askers)
      .map(({ operator, at: approvedAt }) => ({ operator, at: approvedAt }));
    const withApprovals = { ...facts, approvals, askers };
    if (policy?.hasExpressions === true) askExpressions(policy, withApprovals, judge);
    return { decision: decide(policy, withApprovals, judge), facts: withApprovals };
  }

  #facts(policy: ReleasePolicy | undefined, request: GateRequest, at: number): ReleaseFacts {
    const { history, windows, liveness, grainsOf } = this.#options;
    const { id, path, purpose, address, makesKey = false } = request;
    const past: HistoryFacts = history.facts(request, at);
    const window = windows.find(id, request.bootId, at);
    return {
      minionId: id,
      nodegroups: Object.entries(policy?.nodegroups ?? {})
        .filter(([, globs]) => globs.some((glob) => globMatcher(glob)(id)))
        .map(([group]) => group),
      secret: path,
      purpose,
      makesKey,
      address,
      now: at,
      leasesThisBoot: past.leasesThisBoot,
      opensThisBoot: history.facts({ ...request, purpose: "open" }, at).leasesThisBoot,
      newBoot: past.newBoot,
      everLeased: past.everLeased,
      rebootAnnounced: window ? window.covers : false,
      silentMs: past.everLeased ? liveness.silentMs(id, past.heardAt) : 0,
      leasesInDay: past.leasesInDay,
      approvals: [],
      askers: this.#askers(request, at),
      grains: grainsOf(id),
      cipher: request.header?.cipher ?? "",
      sectorSize: request.header?.sectorSize ?? 0,
      integrity: request.header?.integrity ?? "",
      headerKnown: request.header?.known ?? false,
    };
  }

  #revoked({ id, path }: Pick<GateRequest, "id" | "path">): Reason | undefined {
    const revoked = this.#options.revocations.find(id, path);
    return revoked && reason("revoked", `leases were revoked by ${revoked.by}`);
  }

  #locked({ id, path }: Pick<GateRequest, "id" | "path">): Reason | undefined {
    const lock = this.#options.locks.find(id, path);
    return lock && reason("volume-locked", `volume locked by ${lock.by}`);
  }

  #askers(request: GateRequest, at: number): HoldRequest["askers"] {
    const { windows, askers } = this.#options;
    const window = windows.find(request.id, request.bootId, at);
    const pushed = askers.find(request.id, request.bootId, at);
    return [...new Set([...(window ? [window.by] : []), ...pushed])];
  }
}
