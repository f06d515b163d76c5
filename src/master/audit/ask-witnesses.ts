import { checkpointSchema } from "../../core/audit/verify.ts";
import type { JobEvent, WitnessAnswer } from "../../core/control-api.ts";
import { z } from "../../core/schema.ts";
import type { Hosts } from "../hosts.ts";
import type { Jobs } from "../jobs/jobs.ts";

const TIMEOUT_MS = 10_000;
const answerSchema = z.object({ checkpoint: checkpointSchema.nullable(), dispute: z.string() });

/** Asks every connected minion, by a job, for the checkpoint that it keeps. */
export async function askWitnesses(jobs: Jobs, hosts: Hosts): Promise<readonly WitnessAnswer[]> {
  const ids = hosts.connectedIds();
  if (ids.length === 0) return [];
  const stream = await jobs.start({
    target: { kind: "list", expr: ids.join(",") },
    fun: "audit.checkpoint",
    args: [],
    kwargs: {},
    timeoutMs: TIMEOUT_MS,
  });
  const answers: WitnessAnswer[] = [];
  for await (const event of stream.read(AbortSignal.timeout(2 * TIMEOUT_MS))) answers.push(...answerOf(event));
  return answers.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function answerOf(event: JobEvent): readonly WitnessAnswer[] {
  if (event.event === "missing") return [{ id: event.id, checkpoint: null, problem: event.reason, dispute: "" }];
  if (event.event !== "return") return [];
  const { id } = event;
  const { data } = answerSchema.safeParse(event.data);
  if (!data) return [{ id, checkpoint: null, problem: "its answer is no checkpoint", dispute: "" }];
  return [{ id, checkpoint: data.checkpoint, problem: "", dispute: data.dispute }];
}
