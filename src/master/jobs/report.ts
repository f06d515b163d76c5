import type { JobReport } from "../../core/control-api.ts";
import { ConfigError } from "../../core/errors.ts";
import { decodeRecord } from "../store/record.ts";
import type { Entry, Store } from "../store/store.ts";
import { jobKey, jobRecordSchema, ownReturnKey, returnKey, returnRecordSchema } from "./job-record.ts";

/**
 * A job and its returns as the store has them; for a job id that one of `ids` gave to a run of its own (a startup run)
 * that run. Throws ConfigError `no-such-job` when it is unknown or expired.
 */
export async function jobReport(store: Store, jid: string, ids: readonly string[] = []): Promise<JobReport> {
  const entry = await store.get(jobKey(jid));
  if (entry === undefined) return ownReport(store, jid, ids);
  const { fun, args, kwargs, issuedAt, ids: targets } = decodeRecord(jobRecordSchema, entry);
  const returns = (await store.list(returnKey(jid, ""))).map(readReturn);
  return { jid, fun, args, kwargs, issuedAt, targets, returns };
}

async function ownReport(store: Store, jid: string, ids: readonly string[]): Promise<JobReport> {
  for (const id of ids) {
    const entry = await store.get(ownReturnKey(id, jid));
    if (entry === undefined) continue;
    const { fun, startedAt } = decodeRecord(returnRecordSchema, entry);
    return { jid, fun, args: [], kwargs: {}, issuedAt: startedAt, targets: [id], returns: [readReturn(entry)] };
  }
  throw new ConfigError("no-such-job", `cannot find job "${jid}"`, { hint: "jobs are kept for keep_jobs_hours" });
}

function readReturn(entry: Entry): JobReport["returns"][number] {
  const { id, success, retcode, data, receivedAt, startedAt, finishedAt } = decodeRecord(returnRecordSchema, entry);
  return { id, success, retcode, data, receivedAt, durationMs: Math.max(0, finishedAt - startedAt) };
}
