import type { AuditKind } from "../../core/audit/kinds.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Change } from "../store/store.ts";

/** What somebody did about releases, for the audit log; never key material. */
export interface ReleaseEvent {
  readonly kind: AuditKind;
  /** An operator, `root` or `master`. */
  readonly actor: string;
  /** Minion id, operator or file that it is about. */
  readonly subject: string;
  readonly data: JsonObject;
}

/**
 * Writes an audit record and, in the same atomic write, `changes`. Resolves when both are on disk; rejects when neither
 * is there.
 */
export type Journal = (event: ReleaseEvent, changes?: readonly Change[]) => Promise<void>;
