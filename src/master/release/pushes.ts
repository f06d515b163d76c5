import type { JobRequest } from "../../core/control-api.ts";
import { AuthError } from "../../core/errors.ts";
import { argumentsDigest, type JobStatement } from "../../core/operator-statement.ts";
import type { Store } from "../store/store.ts";
import { type Askers, onlyLooks } from "./askers.ts";
import type { Journal } from "./journal.ts";
import type { Nonces } from "./nonces.ts";
import { type Operators, ROOT } from "./operators.ts";
import type { PolicyFile } from "./policy-file.ts";

/** A job that has its number and is about to be published. */
export interface PushedJob {
  readonly jid: string;
  readonly fun: string;
  /** Whom it is published to. */
  readonly ids: readonly string[];
}

/** To be awaited between numbering and publishing a job; nothing is published when it rejects. */
export type NotePush = (job: PushedJob) => Promise<void>;

export interface PushesOptions {
  readonly store: Store;
  readonly journal: Journal;
  readonly operators: Operators;
  readonly policy: Pick<PolicyFile, "current" | "signedPushes">;
  readonly askers: Askers;
  readonly nonces: Nonces;
  /** Fingerprint of the master. */
  readonly master: string;
  readonly now: () => number;
}

/** How long a signed job may lie around before it reaches the master. */
const MAX_PUSH_MS = 600_000;

/** Proves who pushes a job, and notes them as those who asked for what its hosts do then. */
export class Pushes {
  readonly #options: PushesOptions;

  constructor(options: PushesOptions) {
    this.#options = options;
  }

  /**
   * How the pusher of a job is to be noted; undefined when nobody need be. Throws AuthError `bad-approval` for a statement
   * that is not about this job, is not signed by who it names, has expired or was used before. Without a statement it is
   * root who asks, as soon as there are operators and rules that want approvals; AuthError `unsigned-push` where the policy
   * wants a name.
   */
  async prove(request: JobRequest): Promise<NotePush | undefined> {
    if (request.pushed) return this.#signed(request, request.pushed);
    await this.assertMayBeUnsigned(request.fun);
    return this.byRoot();
  }

  /** Throws AuthError `unsigned-push` where the policy wants to know who pushes this function. */
  async assertMayBeUnsigned(fun: string): Promise<void> {
    if (onlyLooks(fun) || !(await this.#options.policy.signedPushes())) return;
    throw new AuthError("unsigned-push", `cannot push "${fun}": the release policy wants every push signed`, {
      hint: "push it with --operator NAME; `latchkey operator add` registers one",
    });
  }

  /** How a job is to be noted that nobody signs, the master's own among them; undefined when it need not be. */
  async byRoot(): Promise<NotePush | undefined> {
    const { askers, store } = this.#options;
    if (!(await this.#needsName())) return undefined;
    return async (job) => {
      const { changes, apply } = askers.pushed(job, ROOT);
      if (changes.length > 0) await store.write(changes);
      apply();
    };
  }

  #signed(request: JobRequest, { statement, signature }: NonNullable<JobRequest["pushed"]>): NotePush {
    const { operators, master, now, askers, journal, nonces } = this.#options;
    const { operator, nonce, expires } = statement;
    const refuse = (why: string) => new AuthError("bad-approval", `cannot take this from "${operator}": ${why}`);
    operators.verify(statement, signature, now(), MAX_PUSH_MS);
    if (!isAbout(statement, request, master)) throw refuse("it is about something else than this job");
    if (nonces.has(nonce)) throw refuse("it was used before");
    const used = nonces.use(nonce, expires);
    return async (job) => {
      const { changes, apply } = askers.pushed(job, operator);
      const { fun, jid, ids } = job;
      const { args, target, targetKind } = statement;
      const data = { jid, fun, args, targetKind, target, hosts: [...ids], nonce, expires, signature };
      await journal(
        { kind: "job-pushed", actor: operator, subject: ids.length === 1 ? (ids[0] ?? "") : target, data },
        [used, ...changes],
      );
      apply();
    };
  }

  async #needsName(): Promise<boolean> {
    const { operators, policy } = this.#options;
    if (operators.list().length === 0) return false;
    const loaded = await policy.current();
    // one that cannot be read may want approvals when it is mended, while the job still runs
    if (loaded.kind !== "policy") return loaded.kind === "broken";
    return loaded.policy.rules.some(({ verdict, require, lift }) => verdict === "hold" || require.approvals || lift);
  }
}

function isAbout(statement: JobStatement, { target, fun, args, kwargs }: JobRequest, master: string): boolean {
  return (
    statement.what === "job" &&
    statement.master === master &&
    statement.targetKind === target.kind &&
    statement.target === target.expr &&
    statement.fun === fun &&
    statement.args === argumentsDigest(args, kwargs)
  );
}
