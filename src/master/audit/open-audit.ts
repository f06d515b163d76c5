import type { Clock } from "../../core/clock.ts";
import { errorMessage } from "../../core/errors.ts";
import type { Identity } from "../../core/identity.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Logger } from "../../core/log.ts";
import { VERSION } from "../../core/version.ts";
import type { EventBus } from "../events.ts";
import type { Store } from "../store/store.ts";
import { AuditLog } from "./audit-log.ts";

/** What the master's audit log rests on. */
export interface AuditParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly identity: Identity;
  readonly events: EventBus;
  readonly log: Logger;
}

/** The audit log of a master that runs. */
export interface MasterAudit {
  readonly audit: AuditLog;
  /** Records that the master stops. Never throws: a disk that is full must not keep it from stopping. */
  readonly stopAudit: () => Promise<void>;
}

/**
 * Opens the audit log and records that the master started: one that cannot write this could release nothing, and does not
 * start. Throws as `AuditLog.open` and `append`.
 */
export async function openAudit({ store, clock, identity, events, log }: AuditParts): Promise<MasterAudit> {
  const audit = await AuditLog.open({
    store,
    clock,
    sign: (message) => identity.sign.sign(message),
    signKey: identity.public.signKey,
    onTrouble: (trouble) => {
      if (trouble === undefined) {
        events.emit("audit/recovered");
        log.warn("audit records are written again");
      } else {
        events.emit("audit/failing", { ...trouble });
        log.error({ ...trouble }, "audit records cannot be written: no key is released");
      }
    },
  });
  const own = async (kind: "master-started" | "master-stopped", data: JsonObject) =>
    audit.append({ at: clock.now(), kind, actor: "master", subject: "", from: "", data });
  await own("master-started", { version: VERSION, fingerprint: identity.fingerprint, pid: process.pid });
  return {
    audit,
    stopAudit: async () => {
      try {
        await own("master-stopped", { pid: process.pid });
        await audit.close();
      } catch (error) {
        log.error({ err: errorMessage(error) }, "cannot record that the master stops");
      }
    },
  };
}
