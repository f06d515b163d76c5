import type { JobEvent, JobRequest } from "../core/control-api.ts";
import { ConfigError, TransportError } from "../core/errors.ts";
import type { Json } from "../core/json.ts";
import type { Context } from "./context.ts";
import { startProgress } from "./progress.ts";

/** What became of a job at one host. */
export type HostResult =
  | { readonly kind: "returned"; readonly success: boolean; readonly data: Json }
  | { readonly kind: "offline" }
  | { readonly kind: "missing"; readonly reason: string };

/**
 * Pushes a job and waits for all of it: for commands that print hosts together. Sorted by host. Throws ConfigError
 * `no-target`, TransportError `job-cut` when the master goes away in the middle.
 */
export async function collectJob(request: JobRequest, context: Context): Promise<ReadonlyMap<string, HostResult>> {
  const results = new Map<string, HostResult>();
  let progress: ReturnType<typeof startProgress> | undefined;
  try {
    for await (const event of context.client.stream<JobEvent>("POST", "/v1/jobs", request)) {
      if (event.event === "start") {
        if (event.targets.length + event.offline.length === 0) {
          throw new ConfigError("no-target", "cannot run: no accepted minion matches the target", {
            hint: "see which there are with `latchkey status`",
          });
        }
        for (const id of event.offline) results.set(id, { kind: "offline" });
        const waiting = event.targets.filter((id) => !event.offline.includes(id));
        progress = startProgress(context.terminal, waiting.length, context.now);
      } else if (event.event === "return") {
        results.set(event.id, { kind: "returned", success: event.success, data: event.data });
        progress?.done(event.id);
      } else if (event.event === "missing" && !results.has(event.id)) {
        results.set(event.id, { kind: "missing", reason: event.reason });
        progress?.done(event.id);
      } else if (event.event === "end") {
        return new Map([...results].toSorted(([a], [b]) => (a < b ? -1 : 1)));
      }
    }
  } finally {
    progress?.stop();
  }
  throw new TransportError("job-cut", "cannot follow the job: the master ended the stream early");
}
