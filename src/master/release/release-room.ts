import type { Clock } from "../../core/clock.ts";
import { AuthError, errorMessage } from "../../core/errors.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Logger } from "../../core/log.ts";
import type { ApprovalStatement, RebootStatement } from "../../core/operator-statement.ts";
import type { RevocationAnswer } from "../../core/release-api.ts";
import { z } from "../../core/schema.ts";
import type { EventBus } from "../events.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";
import { Throttle } from "../leases/throttle.ts";
import { ExpressionThread, type Overrun } from "../policy/expression-thread.ts";
import { Askers } from "./askers.ts";
import { ReleaseGate } from "./gate.ts";
import { LeaseHistory } from "./history.ts";
import { Holds } from "./holds.ts";
import type { Hold } from "./hold-record.ts";
import type { Journal } from "./journal.ts";
import { Liveness } from "./liveness.ts";
import { Notifier } from "../notify.ts";
import { holdNotice } from "./hold-notice.ts";
import { type Lock, Locks } from "./locks.ts";
import { Nonces } from "./nonces.ts";
import { Operators, ROOT } from "./operators.ts";
import { PolicyFile } from "./policy-file.ts";
import { Pushes } from "./pushes.ts";
import { RebootWindows } from "./reboot-windows.ts";
import { Revocations } from "./revocations.ts";

/** What the room rests on. */
export interface ReleaseRoomOptions {
  readonly store: Store;
  readonly journal: Journal;
  readonly events: EventBus;
  readonly log: Logger;
  readonly clock: Clock;
  /** Fingerprint of the master. */
  readonly master: string;
  readonly policyPath: string;
  readonly approvalMs: number;
  readonly heartbeatMs: number;
  readonly holdCommand: readonly string[] | undefined;
  readonly holdWebhook: string | undefined;
  /** File of certificates that are believed for it besides the usual ones. */
  readonly holdWebhookCa?: string | undefined;
  /** How long the expressions of one decision may take; left out, what `ExpressionThread` gives them. */
  readonly expressionMs?: number;
  readonly grainsOf: (id: string) => JsonObject;
  /** Kernel boot_id of a host, as last heard; "" when unknown. */
  readonly bootOf: (id: string) => string;
  /** Tells every session of a host that a held lease may be asked for again. */
  readonly nudge: (id: string) => Promise<void>;
  /** Ends every session of a host at once. */
  readonly cut: (id: string) => Promise<void>;
}

const IN_FORCE = "release/policy";
const inForceSchema = z.object({ kind: z.string(), hash: z.string() });

/** Everything that decides over releases, joined: the policy, what is known of hosts, and what operators say. */
export class ReleaseRoom {
  readonly gate: ReleaseGate;
  readonly holds: Holds;
  readonly operators: Operators;
  readonly policy: PolicyFile;
  readonly liveness: Liveness;
  readonly revocations: Revocations;
  readonly locks: Locks;
  readonly askers: Askers;
  readonly pushes: Pushes;
  readonly #options: ReleaseRoomOptions;
  readonly #windows: RebootWindows;
  readonly #nonces: Nonces;
  readonly #notifier: Notifier;
  readonly #expressions: ExpressionThread;

  private constructor(
    options: ReleaseRoomOptions,
    parts: Pick<
      ReleaseRoom,
      "askers" | "gate" | "holds" | "liveness" | "locks" | "operators" | "policy" | "pushes" | "revocations"
    > & {
      readonly windows: RebootWindows;
      readonly nonces: Nonces;
      readonly notifier: Notifier;
      readonly expressions: ExpressionThread;
    },
  ) {
    this.#options = options;
    this.gate = parts.gate;
    this.holds = parts.holds;
    this.operators = parts.operators;
    this.policy = parts.policy;
    this.liveness = parts.liveness;
    this.revocations = parts.revocations;
    this.locks = parts.locks;
    this.askers = parts.askers;
    this.pushes = parts.pushes;
    this.#windows = parts.windows;
    this.#nonces = parts.nonces;
    this.#notifier = parts.notifier;
    this.#expressions = parts.expressions;
  }

  /** Reads what the store knows, and the policy: what is wrong with that is logged, and nothing is released then. */
  static async open(options: ReleaseRoomOptions): Promise<ReleaseRoom> {
    const { store, journal, events, log, clock, master, approvalMs, heartbeatMs, grainsOf } = options;
    const now = () => clock.now();
    const expressions = new ExpressionThread({
      clock,
      overran: tellOverruns(options),
      ...(options.expressionMs === undefined ? {} : { deadlineMs: options.expressionMs }),
    });
    const policy = await openPolicy(options, expressions);
    const operators = await Operators.load(store, journal);
    const holds = await Holds.load({ store, journal, operators, master, approvalMs, now });
    const revocations = await Revocations.load(store);
    const locks = await Locks.load(store);
    const windows = await RebootWindows.load(store);
    const liveness = await Liveness.load({
      store,
      now,
      monotonicMs: () => clock.monotonicMs(),
      worthMs: heartbeatMs * 2,
      report: (error) => log.error({ err: errorMessage(error) }, "cannot note who is there"),
    });
    const askers = await Askers.load({
      store,
      now,
      bootOf: options.bootOf,
      report: (error) => log.error({ err: errorMessage(error) }, "cannot note who pushed a job"),
    });
    const nonces = await Nonces.load(store, now);
    const pushes = new Pushes({ store, journal, operators, policy, askers, nonces, master, now });
    const { holdCommand: command, holdWebhook: webhook, holdWebhookCa: webhookCa } = options;
    const report = (message: string, error: unknown) => log.warn({ err: error }, message);
    const notifier = new Notifier({ about: "hold", command, webhook, webhookCa, clock, report });
    const held = (hold: Hold) => {
      const notice = holdNotice(hold);
      events.emit(`lease/waiting/${hold.id}`, notice);
      notifier.tell(hold.id, notice);
    };
    const history = await LeaseHistory.load(store);
    const parts = { policy, history, holds, windows, askers, revocations, locks, liveness };
    const evaluate = expressions.evaluate.bind(expressions);
    const gate = new ReleaseGate({ ...parts, grainsOf, evaluate, now, held });
    await policy.current();
    return new ReleaseRoom(options, { ...parts, gate, operators, pushes, nonces, notifier, expressions });
  }

  /** See `Holds.approve`; the host is told to ask again. */
  async approve(statement: ApprovalStatement, signature: string | undefined): Promise<Hold> {
    const hold = await this.holds.approve(statement, signature);
    this.#tell("approved", hold, statement.operator);
    await this.#options.nudge(hold.id);
    return hold;
  }

  /** See `Holds.deny`; the host is told to ask again, and hears no. */
  async deny(holdId: string): Promise<Hold> {
    const hold = await this.holds.deny(holdId);
    this.#tell("denied", hold, ROOT);
    await this.#options.nudge(hold.id);
    return hold;
  }

  /**
   * Takes a secret (null: every secret) away from a host until it is allowed again, and cuts its sessions. In force at
   * once, also when it cannot be recorded; then it throws.
   */
  async revoke(id: string, path: string | null): Promise<void> {
    const { journal, cut, clock, events } = this.#options;
    const dropped = this.holds.drop(id, path);
    const changes = [...this.revocations.add({ id, path, by: ROOT, at: clock.now() }), ...dropped.changes];
    dropped.apply();
    try {
      await journal({ kind: "lease-revoked", actor: ROOT, subject: id, data: { secret: path } }, changes);
    } finally {
      await cut(id);
    }
    events.emit(`lease/revoked/${id}`, { id, secret: path });
  }

  /** Lifts revocations and denials of a host, of one secret or (null) of all; returns how many of each. */
  async allow(id: string, path: string | null): Promise<RevocationAnswer> {
    const { journal, events, nudge } = this.#options;
    const { count, changes, apply } = this.revocations.lift(id, path);
    const dropped = this.holds.drop(id, path);
    const all = [...changes, ...dropped.changes];
    await journal({ kind: "lease-allowed-again", actor: ROOT, subject: id, data: { secret: path } }, all);
    apply();
    dropped.apply();
    events.emit(`lease/allowed-again/${id}`, { id, secret: path });
    await nudge(id);
    return { lifted: count, denials: dropped.denials };
  }

  /** Makes every further lease of these secrets wait. In force at once, also when it cannot be recorded; then it throws. */
  async lock(secrets: readonly Omit<Lock, "at" | "by">[], by: string): Promise<void> {
    const { journal, clock, events } = this.#options;
    const at = clock.now();
    const added = secrets.map((secret) => ({ id: secret.id, changes: this.locks.add({ ...secret, by, at }) }));
    for (const [id, each] of Map.groupBy(added, (one) => one.id)) {
      const data = { secrets: pathsOf(secrets, id) };
      const changes = each.flatMap((one) => one.changes);
      await journal({ kind: "volume-locked", actor: by, subject: id, data }, changes);
      events.emit(`volume/locked/${id}`, { id, ...data, by });
    }
  }

  /** Lifts locks: of these secrets, or where the path is null of the whole host; waiting hosts are told to ask again. */
  async unlock(secrets: readonly Omit<Lock, "at" | "by">[], by: string): Promise<void> {
    const { journal, events, nudge } = this.#options;
    for (const id of new Set(secrets.map((secret) => secret.id))) {
      const isAll = secrets.some((secret) => secret.id === id && secret.path === null);
      const paths = pathsOf(secrets, id);
      const { changes, apply } = this.locks.lift(id, isAll ? null : paths);
      await journal({ kind: "volume-unlocked", actor: by, subject: id, data: { secrets: paths } }, changes);
      apply();
      events.emit(`volume/unlocked/${id}`, { id, secrets: paths, by });
      await nudge(id);
    }
  }

  /**
   * Throws AuthError `bad-approval` unless an announcement is signed by who it names, for this master and moment, and was not
   * taken before.
   */
  assertAnnouncer(statement: RebootStatement, signature: string | undefined): void {
    const { clock, master } = this.#options;
    this.operators.verify(statement, signature, clock.now(), MAX_ANNOUNCE_MS);
    if (statement.master !== master) throw new AuthError("bad-approval", "cannot take this: it is for another master");
    if (this.#nonces.has(statement.nonce)) {
      throw new AuthError("bad-approval", `cannot take this from "${statement.operator}": it was used before`);
    }
  }

  /** Opens a window in which hosts may restart. Throws AuthError `bad-approval` for a statement that is not signed. */
  async announce(ids: readonly string[], statement: RebootStatement, signature: string | undefined): Promise<number> {
    const { clock, journal, events, bootOf } = this.#options;
    const now = clock.now();
    this.assertAnnouncer(statement, signature);
    const { operator, windowMs, nonce, expires } = statement;
    const used = this.#nonces.use(nonce, expires);
    const { changes, apply } = this.#windows.open(ids, operator, now, windowMs, bootOf);
    const data = { hosts: [...ids], windowMs, until: now + windowMs, nonce, expires, signature: signature ?? "" };
    await journal({ kind: "reboot-announced", actor: operator, subject: ids.join(","), data }, [used, ...changes]);
    apply();
    for (const id of ids) events.emit(`reboot/announced/${id}`, { id, by: operator, until: now + windowMs });
    return now + windowMs;
  }

  /** Goes back to no policy at all, for good; only while the file is gone. Returns whether that is so now. */
  async forgetPolicy(): Promise<boolean> {
    const { journal } = this.#options;
    const loaded = await this.policy.current();
    if (loaded.kind !== "broken" || loaded.hash !== "") return loaded.kind === "none";
    await journal({ kind: "policy-given-up", actor: ROOT, subject: this.policy.path, data: {} }, [
      { op: "delete", key: IN_FORCE },
    ]);
    this.policy.forget();
    return (await this.policy.current()).kind === "none";
  }

  close(): void {
    this.liveness.close();
    this.#notifier.close();
    this.#expressions.close();
  }

  #tell(what: "approved" | "denied", hold: Hold, by: string): void {
    const { holdId, id, path, purpose } = hold;
    this.#options.events.emit(`lease/${what}/${id}`, { hold: holdId, id, secret: path, purpose, by });
  }
}

const pathsOf = (secrets: readonly Omit<Lock, "at" | "by">[], id: string) =>
  secrets.filter((secret) => secret.id === id).flatMap(({ path }) => (path === null ? [] : [path]));

/** How long a signed announcement may lie around before it reaches the master. */
export const MAX_ANNOUNCE_MS = 600_000;

/** How often the log tells of one host whose expressions take too long; the audit log has each. */
const TELL_EVERY_MS = 3_600_000;

function tellOverruns({ journal, log, clock }: ReleaseRoomOptions): (overrun: Overrun) => void {
  const throttle = new Throttle(1, TELL_EVERY_MS, clock);
  return ({ host, problem, expressions }) => {
    if (throttle.take(host) !== undefined) {
      log.warn(
        { host, problem, expressions },
        "a release rule's expression was ended: what it denies or holds, it does",
      );
    }
    const data = { problem, expressions: [...expressions] };
    journal({ kind: "expression-ended", actor: "master", subject: host, data }).catch((error: unknown) =>
      log.error({ err: errorMessage(error) }, "cannot record that an expression was ended"),
    );
  };
}

async function openPolicy(
  { store, journal, events, log, policyPath }: ReleaseRoomOptions,
  expressions: ExpressionThread,
): Promise<PolicyFile> {
  const entry = await store.get(IN_FORCE);
  let known = entry === undefined ? undefined : decodeRecord(inForceSchema, entry);
  return new PolicyFile({
    path: policyPath,
    wasInForce: known !== undefined,
    changed: async (loaded) => {
      const { kind, hash } = loaded;
      const problem = loaded.kind === "broken" ? loaded.problem : "";
      // its start is no part of a lease
      if (loaded.kind === "policy" && loaded.policy.hasExpressions) expressions.start();
      if (problem === "") log.info({ kind, hash, path: policyPath }, "release policy");
      else log.error({ problem, path: policyPath }, "no key is released: the release policy cannot be used");
      if (known === undefined ? kind === "none" : known.kind === kind && known.hash === hash) return;
      const next = { kind, hash };
      const changes = kind === "none" ? [] : [putRecord(IN_FORCE, next)];
      await journal({ kind: "policy-changed", actor: ROOT, subject: policyPath, data: { ...next, problem } }, changes);
      known = kind === "none" ? undefined : next;
      events.emit("policy/changed", { ...next, problem });
    },
  });
}
