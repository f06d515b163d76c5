import type { AuditRecord } from "../../core/audit/chain.ts";
import {
  auditRecordSchema,
  type ExportLine,
  ExportVerifier,
  type WitnessedCheckpoint,
} from "../../core/audit/verify.ts";
import type { AuditVerification, WitnessAnswer } from "../../core/control-api.ts";
import { ConfigError } from "../../core/errors.ts";
import type { Identity } from "../../core/identity.ts";
import { decodeRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";
import type { AuditLog } from "./audit-log.ts";
import { exportAudit } from "./export.ts";
import { type AuditQuery, auditMatcher } from "./query.ts";
import { recordEntries, recordKey, RECORDS } from "./stored.ts";

/** What reading the audit log rests on. */
export interface AuditRoomOptions {
  readonly audit: AuditLog;
  readonly store: Store;
  readonly identity: Pick<Identity, "fingerprint" | "public">;
  /** Asks connected minions for the checkpoints that they keep. */
  readonly askWitnesses: () => Promise<readonly WitnessAnswer[]>;
}

const PAGE = 500;
/** Clocks are set back now and then: so far behind `since` a search still looks. */
const CLOCK_SLACK_MS = 86_400_000;

/** Reads and proves the audit log for the operator. */
export class AuditRoom {
  readonly #options: AuditRoomOptions;

  constructor(options: AuditRoomOptions) {
    this.#options = options;
  }

  /** The last records that fit, oldest first; with `follow` also those to come, none left out, until `signal` aborts. */
  async *read(query: AuditQuery, signal: AbortSignal): AsyncGenerator<AuditRecord, void, undefined> {
    const { audit, store } = this.#options;
    const fits = auditMatcher(query);
    let last = audit.head.seq;
    yield* await this.#tail(query, last);
    if (!query.follow) return;
    let wake = Promise.withResolvers<void>();
    const stir = () => wake.resolve();
    const end = audit.follow(stir);
    signal.addEventListener("abort", stir, { once: true });
    try {
      while (!signal.aborted) {
        if (audit.head.seq === last) await wake.promise;
        wake = Promise.withResolvers();
        for await (const entry of recordEntries(store, last + 1)) {
          const record = decodeRecord(auditRecordSchema, entry);
          last = record.seq;
          if (fits(record)) yield record;
        }
      }
    } finally {
      end();
      signal.removeEventListener("abort", stir);
    }
  }

  /** One record. Throws ConfigError `no-such-record`. */
  async record(seq: number): Promise<AuditRecord> {
    const entry = await this.#options.store.get(recordKey(seq));
    if (entry) return decodeRecord(auditRecordSchema, entry);
    throw new ConfigError("no-such-record", `cannot show audit record ${seq}: there is none`, {
      hint: `the last is ${this.#options.audit.head.seq}`,
    });
  }

  /** Every line of an export, its end signed now. */
  async *export(): AsyncGenerator<ExportLine> {
    const { audit, store, identity } = this.#options;
    yield* exportAudit(store, identity.public, await audit.signEnd());
  }

  /** Walks the whole chain as it lies in the store; with witnesses, against what minions keep of it too. */
  async verify(withWitnesses: boolean): Promise<AuditVerification> {
    const { identity, askWitnesses } = this.#options;
    const witnesses = withWitnesses ? await askWitnesses() : [];
    const kept = witnesses.flatMap(({ id, checkpoint }): WitnessedCheckpoint[] =>
      checkpoint ? [{ witness: id, checkpoint }] : [],
    );
    const verifier = new ExportVerifier(identity.fingerprint, kept);
    for await (const line of this.export()) verifier.take(line);
    const { faults, ...found } = verifier.result();
    const disputes = witnesses
      .filter(({ dispute }) => dispute !== "")
      .map(({ id, dispute }) => `${id} saw: ${dispute}`);
    return { ...found, faults: [...faults, ...disputes], witnesses };
  }

  async #tail(query: AuditQuery, upTo: number): Promise<readonly AuditRecord[]> {
    const fits = auditMatcher(query);
    const found: AuditRecord[] = [];
    for (let before = recordKey(upTo + 1); found.length < query.limit;) {
      const page = await this.#options.store.list(RECORDS, { after: before, limit: PAGE, reverse: true });
      const records = page.map((entry) => decodeRecord(auditRecordSchema, entry));
      found.push(...records.filter(fits));
      const oldest = page.at(-1);
      if (!oldest || page.length < PAGE || (records.at(-1)?.at ?? 0) < query.since - CLOCK_SLACK_MS) break;
      before = oldest.key;
    }
    return found.slice(0, query.limit).toReversed();
  }
}
