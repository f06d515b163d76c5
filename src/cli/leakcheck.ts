import type { Command } from "commander";
import type { JobEvent, JobRequest } from "../core/control-api.ts";
import { ConfigError, TransportError } from "../core/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import { parseCount, parseDuration } from "./arguments.ts";
import type { Context } from "./context.ts";
import { safeJson, sanitiseLine } from "./format/sanitise.ts";
import { type Cell, tableText } from "./format/table.ts";
import { documentText, type OutputFormat, parseOutput, returnText } from "./output.ts";
import type { Setup } from "./program.ts";
import { startProgress } from "./progress.ts";

interface LeakcheckOptions {
  readonly list?: true;
  readonly grain?: true;
  readonly time: string;
  readonly maxMib: string;
  readonly plant?: string;
  readonly out: string;
}

const NO_RETURN = "Minion did not return.";
/** For the canary's own way, and for the return. */
const GRACE_MS = 30_000;

const listOf = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? (value as readonly Json[]) : []);
const numberOf = (value: Json | undefined) => (typeof value === "number" ? value : 0);
const textOf = (value: Json | undefined) => (typeof value === "string" ? value : "");

function bytesText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(1)} KiB`;
  return bytes < 1024 ** 3 ? `${(bytes / 1024 ** 2).toFixed(1)} MiB` : `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
}

function amountOf({ bytes, of }: JsonObject): Cell {
  const [searched, all] = [numberOf(bytes), numberOf(of)];
  if (all <= searched) return { text: bytesText(searched) };
  return { text: `${bytesText(searched)} of ${bytesText(all)}`, colour: "yellow" };
}

/** A host's report as a table of places, then each hit and all that was left out. */
export function reportText(id: string, report: JsonObject, paint: Context["paint"]): string {
  const places = listOf(report["places"]).filter(isJsonObject);
  const rows = places.map((place) => {
    const hits = listOf(place["hits"]).length;
    const verdict =
      hits === 0 ? ({ text: "none", colour: "green" } as const) : ({ text: `${hits}`, colour: "red" } as const);
    return [{ text: textOf(place["place"]) }, { text: String(numberOf(place["items"])) }, amountOf(place), verdict];
  });
  const notes = places.flatMap((place) => {
    const name = textOf(place["place"]);
    const hits = listOf(place["hits"]).filter(isJsonObject);
    return [
      ...hits.map((hit) =>
        paint(
          "red",
          sanitiseLine(`${name}: ${textOf(hit["form"])} in ${textOf(hit["where"])} at ${numberOf(hit["offset"])}`),
        ),
      ),
      ...listOf(place["skipped"]).map((why) => sanitiseLine(`${name}, not searched: ${textOf(why)}`)),
    ];
  });
  const channel = isJsonObject(report["channel"]) ? report["channel"] : {};
  const clean = report["clean"] === true;
  const lines = [
    paint(clean ? "cyan" : "red", `${sanitiseLine(id)}: ${clean ? "no trace of the canary" : "THE CANARY LEAKED"}`),
    sanitiseLine(
      `by pipe to ${textOf(channel["pipe"])}, key file in ${textOf(channel["keyFile"])}, ${numberOf(report["tookMs"])} ms`,
    ),
    tableText(["PLACE", "SEARCHED", "BYTES", "HITS"], rows, paint).trimEnd(),
    ...notes,
  ];
  return `${lines.join("\n")}\n`;
}

/** Runs the check on hosts; 0 only when every targeted host returned and none leaks. */
async function runLeakcheck(request: JobRequest, format: OutputFormat, context: Context): Promise<number> {
  const { client, terminal, paint } = context;
  const all: [string, Json][] = [];
  const offline = new Set<string>();
  let clean = true;
  let progress: ReturnType<typeof startProgress> | undefined;
  const show = (id: string, data: Json, success: boolean) => {
    clean &&= success;
    progress?.clear();
    if (format === "jsonl") terminal.print(`${safeJson({ [id]: data })}\n`);
    else if (format !== "text") all.push([id, data]);
    else if (isJsonObject(data) && "places" in data) terminal.print(reportText(id, data, paint));
    else terminal.print(returnText({ id, fun: "", success, data }, paint));
    progress?.done(id);
  };
  try {
    for await (const event of client.stream<JobEvent>("POST", "/v1/jobs", request)) {
      if (event.event === "start") {
        if (event.targets.length + event.offline.length === 0) {
          throw new ConfigError("no-target", "cannot run: no accepted minion matches the target", {
            hint: "see which there are with `latchkey status`",
          });
        }
        for (const id of event.offline) {
          offline.add(id);
          show(id, `${NO_RETURN} [Not connected]`, false);
        }
        const waiting = event.targets.filter((id) => !event.offline.includes(id));
        progress = startProgress(terminal, waiting.length, context.now);
      } else if (event.event === "progress") {
        progress?.host(event.id, `${event.current} (${event.done}/${event.total})`);
      } else if (event.event === "return") show(event.id, event.data, event.success);
      else if (event.event === "missing") {
        if (!offline.has(event.id)) show(event.id, `${NO_RETURN} [${event.reason}]`, false);
      } else if (event.event === "end") {
        if (format === "json" || format === "yaml")
          terminal.print(documentText(Object.fromEntries(all), format, paint));
        return clean && event.missing === 0 && event.failed === 0 ? 0 : 1;
      }
    }
  } finally {
    progress?.stop();
  }
  throw new TransportError("job-cut", "cannot follow the check: the master ended the stream early");
}

/** Adds `leakcheck`. */
export function addLeakcheckCommand(program: Command, { context, end }: Setup): void {
  program
    .command("leakcheck")
    .description("lease a canary on hosts, and hunt for what is left of it")
    .argument("<target>", "which minions: a glob, or see -L and -G")
    .option("-L, --list", "the target is a list of ids: web1,web2")
    .option("-G, --grain", "the target is a grain: os_family:Debian")
    .option("--time <time>", "most time that the hunt takes: 30s, 5m", "60s")
    .option("--max-mib <count>", "most MiB that are read of one place, the newest files first", "1024")
    .option("--plant <place>", "leak the canary on purpose, to see it found: memory, temp, logs, ...")
    .option("--out <format>", "text, json (one document), jsonl (a line a host) or yaml", "text")
    .action(async (target: string, options: LeakcheckOptions) => {
      if (options.list && options.grain) throw new ConfigError("bad-target", "cannot use both -L and -G: choose one");
      const format = parseOutput(options.out);
      const timeMs = parseDuration(options.time);
      const request: JobRequest = {
        target: { kind: options.list ? "list" : options.grain ? "grain" : "glob", expr: target },
        fun: "leakcheck.run",
        args: [],
        kwargs: {
          time: timeMs / 1000,
          max_mib: parseCount(options.maxMib),
          ...(options.plant === undefined ? {} : { plant: options.plant }),
        },
        timeoutMs: timeMs + GRACE_MS,
      };
      end(await runLeakcheck(request, format, context()));
    });
}
