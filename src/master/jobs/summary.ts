import type { LastHighstate } from "../../core/control-api.ts";
import { isJsonObject } from "../../core/json.ts";
import type { ReturnRecord } from "./job-record.ts";

/** Functions whose return describes a whole highstate. */
const HIGHSTATES: ReadonlySet<string> = new Set(["state.highstate", "state.apply", "state.sls", "state.top"]);

/**
 * What `status` says about a return of states, or undefined for any other: a startup run, `state.highstate`, or
 * `state.apply` without SLS names (a job with them is given as `partial`). Test runs (some result null) do not count.
 */
export function highstateSummary(record: ReturnRecord, partial: boolean): LastHighstate | undefined {
  if (partial || !HIGHSTATES.has(record.fun)) return undefined;
  const states = isJsonObject(record.data) ? Object.values(record.data).filter(isJsonObject) : [];
  if (states.some(({ result }) => result === null)) return undefined;
  const succeeded = states.filter(({ result }) => result === true).length;
  return {
    jid: record.jid,
    finishedAt: record.finishedAt,
    success: record.success,
    startup: record.startup,
    succeeded,
    changed: states.filter(({ changes }) => isJsonObject(changes) && Object.keys(changes).length > 0).length,
    // a list of compile errors has no states: it counts as one failure
    failed: states.length === 0 && !record.success ? 1 : states.length - succeeded,
  };
}
