import { setTimeout as pause } from "node:timers/promises";
import type { JobRequest } from "../core/control-api.ts";
import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import type { VolumeList } from "../core/volume-api.ts";
import { type VolumeStatus, volumeStatusSchema } from "../core/volume-status.ts";
import { collectJob, type HostResult } from "./collect-job.ts";
import type { Context } from "./context.ts";
import { documentText, type OutputFormat, parseOutput, returnText } from "./output.ts";
import { type HostTree, volumeTreeText } from "./volume-tree.ts";

type Entry = VolumeList["volumes"][number];

/** What a host returned, volume by volume; undefined for what is no status. */
function parseReturn(data: Json): ReadonlyMap<string, VolumeStatus> | undefined {
  if (!isJsonObject(data)) return undefined;
  const statuses = Object.entries(data).map(
    ([name, value]) => [name, volumeStatusSchema.safeParse(value).data] as const,
  );
  const read = statuses.flatMap(([name, status]) => (status === undefined ? [] : [[name, status] as const]));
  return read.length === statuses.length ? new Map(read) : undefined;
}

function treeOf(id: string, result: HostResult, entries: readonly Entry[], names: readonly string[]): HostTree {
  const known = entries.filter((entry) => entry.id === id && (names.length === 0 || names.includes(entry.volume)));
  const statuses = result.kind === "returned" && result.success ? parseReturn(result.data) : undefined;
  const lastLeases = new Map(known.map(({ volume, lastLeaseAt }) => [volume, lastLeaseAt]));
  if (statuses) {
    const volumes = [...statuses].map(([, { layers, report }]) => ({ layers, report, heardAt: 0 }));
    return { id, why: "", volumes, lastLeases };
  }
  const why = result.kind === "offline" ? "offline" : result.kind === "missing" ? result.reason : "no status";
  return { id, why, volumes: known.map((report) => ({ layers: [], report, heardAt: report.heardAt })), lastLeases };
}

interface Shown {
  readonly text: string;
  readonly document: JsonObject;
  readonly isWell: boolean;
}

async function gather(request: JobRequest, context: Context): Promise<Shown> {
  const results = await collectJob(request, context);
  const { volumes: entries } = await context.client.request<VolumeList>("GET", "/v1/volumes");
  const names = request.args.filter((arg) => typeof arg === "string");
  const failed = [...results].flatMap(([id, result]) =>
    result.kind === "returned" && (!result.success || parseReturn(result.data) === undefined)
      ? [{ id, ...result }]
      : [],
  );
  const isFailed = (id: string) => failed.some((one) => one.id === id);
  const trees = [...results].flatMap(([id, result]) => (isFailed(id) ? [] : [treeOf(id, result, entries, names)]));
  const document: Record<string, JsonObject> = {};
  for (const { id, why, volumes, lastLeases } of trees) {
    const rows = volumes.map(({ layers, report, heardAt }) => {
      const lastLeaseAt = lastLeases.get(report.volume) ?? 0;
      const { proven, disk, problems, slots, ...rest } = report;
      return [
        report.volume,
        { layers, report: { ...rest, proven, disk, problems, slots }, heardAt, lastLeaseAt },
      ] as const;
    });
    document[id] = { online: why === "", why, volumes: Object.fromEntries(rows) };
  }
  for (const { id, data } of failed) document[id] = { online: true, why: "failed", error: data };
  const errors = failed.map(({ id, data }) => returnText({ id, fun: "", success: false, data }, context.paint));
  const text = [volumeTreeText(trees, context.now(), context.paint), ...errors].join("");
  return { text, document, isWell: failed.length === 0 && trees.every(({ why }) => why === "") };
}

/** `volume status`: 0 when every host answered, 1 when one was offline or failed. */
export async function showVolumes(request: JobRequest, out: string, context: Context): Promise<number> {
  const format: OutputFormat = parseOutput(out);
  const { text, document, isWell } = await gather(request, context);
  context.terminal.print(format === "text" ? text : documentText(document, format, context.paint));
  return isWell ? 0 : 1;
}

/** Draws it again every so often until it is interrupted. */
export async function watchVolumes(
  request: JobRequest,
  out: string,
  everyMs: number,
  context: Context,
): Promise<number> {
  const format = parseOutput(out);
  const { signal, terminal } = context;
  const quiet = { ...context, terminal: { ...terminal, errIsTerminal: false } };
  for (;;) {
    const { text, document, isWell } = await gather(request, quiet);
    if (format === "text" && terminal.outIsTerminal) terminal.print("\u001b[H\u001b[2J");
    terminal.print(
      format === "text" ? text : documentText(document, format === "json" ? "jsonl" : format, context.paint),
    );
    await pause(everyMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return isWell ? 0 : 1;
  }
}
