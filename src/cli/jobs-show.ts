import type { JobReport } from "../core/control-api.ts";
import type { JsonObject } from "../core/json.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { timeText } from "./format/table.ts";
import { documentText, type OutputFormat, returnText } from "./output.ts";

/** `jobs show <jid>`: what returned so far, also what came after `run` had stopped waiting. Status as of `run`. */
export async function showJob(jid: string, format: OutputFormat, context: Context): Promise<number> {
  const { client, terminal, paint } = context;
  const job = await client.request<JobReport>("GET", `/v1/jobs/${encodeURIComponent(jid)}`);
  const returned = new Set(job.returns.map(({ id }) => id));
  const missing = job.targets.filter((id) => !returned.has(id));
  const status = missing.length === 0 && job.returns.every(({ success }) => success) ? 0 : 1;
  if (format !== "text") {
    terminal.print(documentText(job as unknown as JsonObject, format, paint));
    return status;
  }
  terminal.print(
    `${sanitiseLine(job.fun)} at ${timeText(job.issuedAt)}: ${returned.size} of ${job.targets.length} returned\n`,
  );
  for (const host of job.returns) terminal.print(returnText({ ...host, fun: job.fun }, paint));
  if (missing.length > 0)
    terminal.print(`${paint("yellow", `no return yet: ${missing.map(sanitiseLine).join(", ")}`)}\n`);
  return status;
}
