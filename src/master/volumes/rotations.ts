import type { AuditFact } from "../../core/audit/chain.ts";
import type { Clock } from "../../core/clock.ts";
import { AuthError } from "../../core/errors.ts";
import { KeyedLanes } from "../../core/keyed-lanes.ts";
import type { Logger } from "../../core/log.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";
import { keyPathOf, readVolumes } from "../../states/volume/spec.ts";
import type { PeerSession } from "../../wire/endpoints.ts";
import type { Request, Response } from "../../wire/messages.ts";
import { verifyRotation } from "../../wire/rotation-signature.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { EventBus } from "../events.ts";
import { isOfStore } from "../secret-version.ts";
import { MAX_VERSIONS, type SecretVersions } from "../secret-versions.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";
import {
  isOpen,
  moveRotation,
  rotationKey,
  type RotationRecord,
  ROTATIONS,
  rotationSchema,
} from "./rotation-record.ts";

/** The points that a rotation passes at the master; one that dies at any of them has lost no key. */
export type RotationPoint =
  | "rotation-asked"
  | "rotation-announced"
  | "rotation-minted"
  | "rotation-proven"
  | "rotation-committed"
  | "rotation-done";

/** What rotations work with. */
export interface RotationsOptions {
  readonly store: Store;
  readonly audit: Pick<AuditLog, "append">;
  readonly versions: Pick<SecretVersions, "current" | "get" | "mayMake" | "mint" | "newest">;
  /** The host's pillar as it is now. Throws when it is broken. */
  readonly compile: (id: string) => Promise<CompiledPillar>;
  readonly events: EventBus;
  readonly log: Logger;
  readonly clock: Clock;
  /** Refuses, by throwing, that a version becomes current. */
  readonly mayCommit?: (rotation: RotationToCommit) => Promise<void>;
  /** Called at each point: where tests end the process. */
  readonly reached?: (point: RotationPoint) => void;
}

/** A rotation whose new version is about to become the current one. */
export type RotationToCommit = Pick<RotationRecord, "id" | "path" | "to" | "volume">;

/** What is stored of a key: the number of its newest version, and the one that is leased when none is named (0 for none). */
interface StoredKeys {
  readonly newest: number;
  readonly current: number;
}

type Step = Request<"volume.rotation">;
type Answer = Response<"volume.rotation">;

const KINDS = {
  look: "rotation-looked-at",
  begin: "rotation-begun",
  proven: "rotation-committed",
  finish: "rotation-finished",
  done: "rotation-done",
  revert: "rotation-reverted",
  reverted: "rotation-rolled-back",
} as const;

/**
 * The master's side of rotations: mints the new version, keeps it apart until the minion has proven that it opens its
 * own keyslot, and only then makes it the current one. Every version that was ever minted stays (I3). Steps may be
 * repeated: what was done is done once.
 */
export class Rotations {
  readonly #options: RotationsOptions;
  readonly #lanes = new KeyedLanes();

  constructor(options: RotationsOptions) {
    this.#options = options;
  }

  /** The last rotation of each key, of one host or of all. */
  async list(id?: string): Promise<readonly RotationRecord[]> {
    const entries = await this.#options.store.list(id === undefined ? ROTATIONS : `${ROTATIONS}${id}/`);
    return entries.map((entry) => decodeRecord(rotationSchema, entry));
  }

  /** What of a host's rotations is left to do for it. */
  async work(id: string): Promise<Response<"volume.work">["work"]> {
    const open = (await this.list(id)).filter(
      (record) => isOpen(record) && !(record.state === "committed" && record.keepOld),
    );
    return open.map(({ volume, keepOld }) => ({ kind: "resume", volume, keepOld }));
  }

  /**
   * Takes one step of a minion. Throws AuthError `rotation-signature` when the session's own minion did not sign it on
   * this session, `not-in-pillar` when its pillar has no such volume with that key.
   */
  async step(session: PeerSession, step: Step): Promise<Answer> {
    const { minionId: id } = session;
    if (!verifyRotation(step, session.peer, session.handshakeHash)) {
      throw new AuthError("rotation-signature", `cannot rotate a key of "${id}": the signature is wrong`);
    }
    this.#options.reached?.("rotation-asked");
    const kind = await this.#secretKind(id, step);
    if (kind === "secret") return { verdict: "refused", reason: "not-generated" };
    return this.#lanes.run(`${id} ${step.path}`, async () => this.#answer(session, step));
  }

  async #secretKind(id: string, { volume, path }: Step): Promise<"secret" | "generate"> {
    const { pillar, secrets } = await this.#options.compile(id);
    const declared = readVolumes(pillar).find(({ name }) => name === volume);
    const node = secrets.get(path);
    if (declared === undefined || node === undefined || keyPathOf(declared) !== path) {
      throw new AuthError("not-in-pillar", `cannot rotate "${path}" of "${id}": its pillar has no such volume`);
    }
    return node.kind;
  }

  async #answer(session: PeerSession, step: Step): Promise<Answer> {
    const { versions, clock } = this.#options;
    const { minionId: id } = session;
    const stored = await this.#stored(id, step.path);
    const { current } = stored;
    const record = await this.#read(id, step.path);
    if (step.event === "begin") return this.#begin(session, step, record, stored);
    const from = step.from > 0 ? await versions.get(id, step.path, step.from) : undefined;
    const hasFrom = from !== undefined && isOfStore(from);
    const move = moveRotation(record, step, { current, hasFrom, at: clock.now() });
    if (step.event === "look" || move.kind === "same") return answerOf(record, stored);
    if (move.kind === "refused") return { verdict: "refused", reason: move.reason };
    if (step.event === "proven") {
      this.#options.reached?.("rotation-proven");
      await this.#options.mayCommit?.({ id, volume: step.volume, path: step.path, to: move.record.to });
    }
    await this.#keep(session, step, move.record);
    if (step.event === "proven") this.#options.reached?.("rotation-committed");
    if (step.event === "done" || step.event === "reverted") this.#options.reached?.("rotation-done");
    return answerOf(move.record, await this.#stored(id, step.path));
  }

  async #stored(id: string, path: string): Promise<StoredKeys> {
    const { versions } = this.#options;
    const newest = await versions.newest(id, path);
    return { newest, current: (await versions.current(id, path))?.version ?? 0 };
  }

  /** Takes up the rotation that is under way, or mints a version for a new one. */
  async #begin(
    session: PeerSession,
    step: Step,
    record: RotationRecord | undefined,
    stored: StoredKeys,
  ): Promise<Answer> {
    const { minionId: id } = session;
    const { audit, versions, clock, events, log } = this.#options;
    const { current } = stored;
    if (current === 0) return { verdict: "refused", reason: "no-key-yet" };
    // one that an import has overtaken is not gone on with: its version stays set aside
    if (isOpen(record) && record.to >= current) return answerOf(record, stored);
    if (!(await versions.mayMake(id, step.path))) {
      log.warn(
        { id, path: step.path, newest: stored.newest },
        "rotation refused: too many keys were made of it lately",
      );
      return { verdict: "refused", reason: "too-many-versions" };
    }
    await audit.append(factOf(session, { ...step, from: current }, clock.now()));
    this.#options.reached?.("rotation-announced");
    const at = clock.now();
    const aside = record?.aside ?? [];
    const open = (to: number): RotationRecord => ({
      id,
      path: step.path,
      volume: step.volume,
      luksUuid: step.luksUuid,
      from: current,
      to,
      state: "pending",
      keepOld: step.keepOld,
      slot: -1,
      begunAt: at,
      changedAt: at,
      aside: [...aside, to],
    });
    const key = rotationKey(id, step.path);
    const { version } = await versions.mint(id, step.path, (to) => putRecord(key, open(to)));
    this.#options.reached?.("rotation-minted");
    events.emit(`rotation/begun/${id}`, { id, volume: step.volume, path: step.path, from: current, to: version });
    return answerOf(open(version), { newest: version, current });
  }

  /** Resolves when the step is in the audit log and the record is changed, both in one write. */
  async #keep(session: PeerSession, step: Step, record: RotationRecord): Promise<void> {
    const { audit, events, log, clock } = this.#options;
    const { id, path, volume, from, to, state } = record;
    await audit.append(factOf(session, step, clock.now()), [putRecord(rotationKey(id, path), record)]);
    events.emit(`rotation/${state}/${id}`, { id, volume, path, from, to });
    log.info({ id, volume, path, from, to, state }, "rotation");
  }

  async #read(id: string, path: string): Promise<RotationRecord | undefined> {
    const entry = await this.#options.store.get(rotationKey(id, path));
    return entry && decodeRecord(rotationSchema, entry);
  }
}

function answerOf(record: RotationRecord | undefined, { newest, current }: StoredKeys): Answer {
  return {
    verdict: "ok",
    state: record?.state ?? "none",
    from: record?.from ?? 0,
    to: record?.to ?? 0,
    current,
    keepOld: record?.keepOld ?? false,
    versions: Array.from({ length: Math.min(newest, MAX_VERSIONS) }, (_, index) => newest - index).toReversed(),
  };
}

/** A step as the audit chain has it: with the minion's signature and the handshake hash that it covers. */
function factOf({ minionId, address, handshakeHash }: PeerSession, step: Step, at: number): AuditFact {
  const { signature, ...said } = step;
  const data = {
    ...said,
    signature: Buffer.from(signature).toString("hex"),
    handshakeHash: Buffer.from(handshakeHash).toString("hex"),
  };
  return { at, kind: KINDS[step.event], actor: minionId, subject: minionId, from: address, data };
}
