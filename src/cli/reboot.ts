import type { JobRequest } from "../core/control-api.ts";
import type { RebootStatement } from "../core/operator-statement.ts";
import type { HoldList, RebootAnnounced, RebootRequest } from "../core/release-api.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { timeText } from "./format/table.ts";
import { runJob } from "./jobs.ts";
import { openSigner, type Signer } from "./operator-signature.ts";
import { EXPIRES_MS, newNonce, withPusher } from "./signed-job.ts";

/** What `reboot` was told. */
export interface RebootOptions extends Signer {
  readonly target: JobRequest["target"];
  readonly windowMs: number;
  /** Only announce it: somebody else restarts the hosts. */
  readonly isOnlyAnnounced: boolean;
  readonly timeoutMs: number;
  /** Also hosts with volumes whose key would not be kept. */
  readonly force: boolean;
}

/** `reboot <target>`: opens a window in which the hosts may restart, and restarts them. Returns the exit status. */
export async function rebootHosts(options: RebootOptions, context: Context): Promise<number> {
  const { target, windowMs, isOnlyAnnounced, timeoutMs, force } = options;
  const { client, terminal } = context;
  const sign = await openSigner(options, context);
  const { master, now } = await client.request<HoldList>("GET", "/v1/holds");
  const operator = options.as ?? "root";
  const statement: RebootStatement = {
    what: "reboot",
    master,
    targetKind: target.kind,
    target: target.expr,
    windowMs,
    operator,
    expires: now + EXPIRES_MS,
    nonce: newNonce(),
  };
  const signature = sign(statement);
  const skip = force ? { force } : {};
  const body: RebootRequest = { statement, ...skip, ...(signature === undefined ? {} : { signature }) };
  const { ids, unknown, until } = await client.request<RebootAnnounced>("POST", "/v1/reboots", body);
  terminal.print(`announced until ${timeText(until)}: ${ids.map(sanitiseLine).join(", ")}\n`);
  if (isOnlyAnnounced) {
    for (const id of unknown) terminal.warn(`${sanitiseLine(id)}: no accepted minion of that id\n`);
    return unknown.length === 0 ? 0 : 1;
  }
  const job: JobRequest = { target, fun: "system.reboot", args: [], kwargs: skip, timeoutMs };
  return runJob(withPusher(job, { operator, sign, master, now }), "text", context);
}
