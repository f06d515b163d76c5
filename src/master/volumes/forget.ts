import type { Clock } from "../../core/clock.ts";
import { AuthError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";
import type { PeerSession } from "../../wire/endpoints.ts";
import type { Request, Response } from "../../wire/messages.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { EventBus } from "../events.ts";
import type { SecretVersions } from "../secret-versions.ts";
import type { KnownHeaders } from "./known-headers.ts";

/** What forgetting keys works with. */
export interface ForgettingOptions {
  readonly audit: Pick<AuditLog, "append">;
  readonly versions: Pick<SecretVersions, "forget" | "forgottenThrough" | "newest">;
  /** What is known of the header goes with the volume. */
  readonly known: Pick<KnownHeaders, "forget">;
  /** The host's pillar as it is now. Throws when it is broken. */
  readonly compile: (id: string) => Promise<CompiledPillar>;
  readonly events: EventBus;
  readonly log: Logger;
  readonly clock: Clock;
}

/**
 * Sets aside the keys of volumes that their hosts have removed: none of their stored versions is leased any more, the next
 * format gets a new one, and an operator can take each of them back.
 */
export class Forgetting {
  readonly #options: ForgettingOptions;

  constructor(options: ForgettingOptions) {
    this.#options = options;
  }

  /**
   * Forgets a key of the session's own minion; once, however often it is asked. It is in the audit log before. Throws
   * AuthError `not-in-pillar` for a path that the minion's pillar does not name.
   */
  async forget(session: PeerSession, { volume, path }: Request<"volume.forget">): Promise<Response<"volume.forget">> {
    const { minionId: id, address: from } = session;
    const { audit, versions, compile, events, log, clock } = this.#options;
    const node = (await compile(id)).secrets.get(path);
    if (node === undefined) {
      throw new AuthError("not-in-pillar", `cannot forget "${path}" of "${id}": its pillar names no such secret`);
    }
    await this.#options.known.forget(id, path);
    if (node.kind === "secret") return { through: 0, kept: true };
    const through = await versions.newest(id, path);
    if (through === (await versions.forgottenThrough(id, path))) return { through: 0, kept: false };
    await audit.append({
      at: clock.now(),
      kind: "key-forgotten",
      actor: id,
      from,
      subject: id,
      data: { volume, path, through },
    });
    await versions.forget(id, path);
    events.emit(`volume/forgotten/${id}`, { id, volume, path, through });
    log.info({ id, volume, path, through }, "key forgotten");
    return { through, kept: false };
  }
}
