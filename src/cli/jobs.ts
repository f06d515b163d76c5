import type { JobEvent, JobRequest } from "../core/control-api.ts";
import { ConfigError, TransportError } from "../core/errors.ts";
import type { Json } from "../core/json.ts";
import type { Context } from "./context.ts";
import { sanitise, safeJson, sanitiseLine } from "./format/sanitise.ts";
import { documentText, type OutputFormat, returnText } from "./output.ts";
import { type Progress, startProgress } from "./progress.ts";

const NO_RETURN = "Minion did not return.";

/** Prints returns as they come, or keeps them for one document at the end. */
interface Printer {
  host(id: string, data: Json, text: () => string): void;
  end(): void;
}

function printerFor({ terminal, paint }: Context, format: OutputFormat): Printer {
  const all: [string, Json][] = [];
  return {
    host: (id, data, text) => {
      if (format === "text") terminal.print(text());
      else if (format === "jsonl") terminal.print(`${safeJson({ [id]: data })}\n`);
      else all.push([id, data]);
    },
    end: () => {
      if (format === "json" || format === "yaml") terminal.print(documentText(Object.fromEntries(all), format, paint));
    },
  };
}

/** Names the hosts known to be offline at once: as blocks of their own in text, on standard error for programs. */
function start(
  event: JobEvent & { readonly event: "start" },
  format: OutputFormat,
  context: Context,
  printer: Printer,
): Progress {
  const { targets, offline } = event;
  if (targets.length + offline.length === 0) {
    throw new ConfigError("no-target", "cannot run: no accepted minion matches the target", {
      hint: "see which there are with `latchkey status`",
    });
  }
  if (offline.length > 0 && format !== "text") {
    const names = offline.map(sanitiseLine).join(", ");
    context.terminal.warn(`${context.paint("yellow", `offline, not waited for: ${names}`)}\n`);
  }
  const reason = `${NO_RETURN} [Not connected]`;
  for (const id of offline) {
    printer.host(id, reason, () => returnText({ id, fun: "", success: false, data: reason }, context.paint));
  }
  return startProgress(context.terminal, targets.filter((id) => !offline.includes(id)).length, context.now);
}

/**
 * Pushes a job and prints returns as they come. Returns the exit status: 0 only when every targeted host returned
 * success. Throws TransportError `job-cut` when the master goes away in the middle.
 */
export async function runJob(request: JobRequest, format: OutputFormat, context: Context): Promise<number> {
  const printer = printerFor(context, format);
  const offline = new Set<string>();
  let progress: Progress | undefined;
  let jid = "";
  let allSucceeded = true;
  try {
    for await (const event of context.client.stream<JobEvent>("POST", "/v1/jobs", request)) {
      switch (event.event) {
        case "start":
          for (const id of event.offline) offline.add(id);
          allSucceeded = event.offline.length === 0;
          progress = start(event, format, context, printer);
          jid = event.jid;
          break;
        case "ack":
          progress?.host(event.id, "started");
          break;
        case "progress":
          progress?.host(event.id, `${event.current} (${event.done}/${event.total})`);
          break;
        case "return":
          allSucceeded &&= event.success;
          progress?.clear();
          printer.host(event.id, event.data, () => returnText(event, context.paint));
          progress?.done(event.id);
          break;
        case "missing": {
          if (offline.has(event.id)) break;
          allSucceeded = false;
          progress?.clear();
          const data = `${NO_RETURN} [${event.reason}]`;
          printer.host(event.id, data, () =>
            returnText({ id: event.id, fun: "", success: false, data }, context.paint),
          );
          progress?.done(event.id);
          break;
        }
        case "end":
          progress?.stop();
          printer.end();
          return allSucceeded && event.failed === 0 && event.missing === 0 ? 0 : 1;
      }
    }
  } catch (error) {
    progress?.stop();
    if (jid !== "") context.terminal.warn(`job ${sanitise(jid)} goes on at the hosts that have it\n`);
    throw error;
  }
  progress?.stop();
  throw new TransportError("job-cut", `cannot follow job ${jid}: the master ended the stream early`, {
    hint: "hosts that have the job go on; their returns are kept",
  });
}
