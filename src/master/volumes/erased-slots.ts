import type { Clock } from "../../core/clock.ts";
import { AuthError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { z } from "../../core/schema.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";
import { keyPathOf, readVolumes } from "../../states/volume/spec.ts";
import type { PeerSession } from "../../wire/endpoints.ts";
import { verifyErased } from "../../wire/erased-signature.ts";
import type { Request, Response } from "../../wire/messages.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { EventBus } from "../events.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";

/** Where a host's word on one of its volumes is stored. */
export const erasedSlotsKey = (id: string, volume: string): string =>
  `keyslots-erased/${id}/${encodeURIComponent(volume)}`;
const recordSchema = z.strictObject({ luksUuid: z.string(), path: z.string(), at: z.number() });

/** A host's signed word that every keyslot of a volume is dead. `at`: when the master got it, milliseconds since the epoch. */
export type ErasedRecord = z.infer<typeof recordSchema>;

/** What taking such words in rests on. */
export interface ErasedSlotsOptions {
  readonly store: Store;
  readonly audit: Pick<AuditLog, "append">;
  /** The host's pillar as it is now. Throws when it is broken. */
  readonly compile: (id: string) => Promise<CompiledPillar>;
  readonly events: EventBus;
  readonly log: Logger;
  readonly clock: Clock;
}

/** Which volumes' keyslots their hosts have erased: signed by the host, durable, in the audit log. */
export class ErasedSlots {
  readonly #options: ErasedSlotsOptions;

  constructor(options: ErasedSlotsOptions) {
    this.#options = options;
  }

  /**
   * Takes a host's word in; resolves when it is on disk. Throws AuthError `erased-signature` when the session's own minion did
   * not sign it on this session, `not-in-pillar` when its pillar has no such volume with that key.
   */
  async take(session: PeerSession, receipt: Request<"volume.erased">): Promise<Response<"volume.erased">> {
    const { minionId: id, address: from, handshakeHash } = session;
    const { audit, compile, clock, events, log } = this.#options;
    const { signature, ...said } = receipt;
    const { volume, path, luksUuid } = said;
    if (!verifyErased(receipt, session.peer, handshakeHash)) {
      throw new AuthError("erased-signature", `cannot note what "${id}" erased: the signature is wrong`);
    }
    const declared = readVolumes((await compile(id)).pillar).find(({ name }) => name === volume);
    if (declared === undefined || keyPathOf(declared) !== path) {
      throw new AuthError(
        "not-in-pillar",
        `cannot note that "${id}" erased "${volume}": its pillar has no such volume`,
      );
    }
    const at = clock.now();
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
    const data = { ...said, signature: hex(signature), handshakeHash: hex(handshakeHash) };
    const record: ErasedRecord = { luksUuid, path, at };
    await audit.append({ at, kind: "keyslots-erased", actor: id, subject: id, from, data }, [
      putRecord(erasedSlotsKey(id, volume), record),
    ]);
    events.emit(`volume/erased/${id}`, { id, volume, luksUuid });
    log.info({ id, volume, luksUuid }, "keyslots erased");
    return {};
  }

  /** The last word of a host on one of its volumes; undefined when it never said so. */
  async get(id: string, volume: string): Promise<ErasedRecord | undefined> {
    const entry = await this.#options.store.get(erasedSlotsKey(id, volume));
    return entry && decodeRecord(recordSchema, entry);
  }
}
