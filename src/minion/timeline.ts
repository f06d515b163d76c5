import { isJsonObject, type Json } from "../core/json.ts";
import type { Host } from "../core/host.ts";
import type { StateReturn } from "../core/state-return.ts";
import type { LeaseRecord } from "../states/state.ts";

/** A moment of a startup. */
export interface Moment {
  readonly what: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Milliseconds since the kernel started. */
  readonly ms: number;
}

/** What happened when from the start of the kernel until the startup run was done. */
export interface Timeline {
  readonly bootId: string;
  readonly jid: string;
  readonly moments: readonly Moment[];
}

/** State modules whose end is worth a line. */
const MILESTONES: ReadonlySet<string> = new Set(["lvm", "luks", "fs", "mount", "service"]);
const DAY_MS = 86_400_000;

/** When the kernel started, from /proc/uptime (proc(5)), to 10 ms; undefined where there is none. */
export async function readKernelStart(host: Host, now: number): Promise<number | undefined> {
  const uptime = Number.parseFloat((await host.readFile("/proc/uptime"))?.toString("utf8") ?? "");
  return Number.isNaN(uptime) ? undefined : now - uptime * 1000;
}

/** Collects the moments of one startup. */
export class TimelineRecorder {
  readonly #moments: { readonly what: string; readonly at: number }[] = [];

  mark(what: string, at: number): void {
    this.#moments.push({ what, at });
  }

  /** Takes over what a finished run knows: its leases, and when its storage and service states ended. */
  addRun(data: Json, leases: readonly LeaseRecord[], startedAt: number): void {
    for (const { ref, leasedAt, usedAt, wipedAt } of leases) {
      this.mark(`key leased: ${ref}`, leasedAt);
      this.mark(`key used: ${ref}`, usedAt);
      this.mark(`key wiped: ${ref}`, wipedAt);
    }
    for (const [key, row] of Object.entries(isJsonObject(data) ? data : {})) {
      const [module = "", id = "", , fun = ""] = key.split("_|-");
      const ended = isStateReturn(row) ? endOf(row, startedAt) : undefined;
      if (ended !== undefined && MILESTONES.has(module)) this.mark(`${module}.${fun}: ${id}`, ended);
    }
  }

  /** Everything so far, in the order of time. */
  finish(bootId: string, jid: string, kernelStart: number): Timeline {
    const moments = [{ what: "kernel started", at: kernelStart }, ...this.#moments]
      .map(({ what, at }) => ({ what, at: Math.round(at), ms: Math.round(at - kernelStart) }))
      .sort((a, b) => a.at - b.at);
    return { bootId, jid, moments };
  }
}

function isStateReturn(row: unknown): row is StateReturn {
  return isJsonObject(row) && typeof row["start_time"] === "string" && typeof row["duration"] === "number";
}

/** Rows tell the local time of day: the day is that of the run's start, or the next. */
function endOf(row: StateReturn, startedAt: number): number | undefined {
  const match = /^(\d\d):(\d\d):(\d\d)\.(\d{3})/u.exec(row.start_time);
  if (!match || !row["__state_ran__"]) return undefined;
  const [hours = 0, minutes = 0, seconds = 0, ms = 0] = match.slice(1).map(Number);
  const day = new Date(startedAt);
  const begun = day.setHours(hours, minutes, seconds, ms);
  // over midnight
  return (begun < startedAt - DAY_MS / 2 ? begun + DAY_MS : begun) + row.duration;
}

/** The timeline as one more row of the run's return, in the shape of the others. */
export function timelineRow(timeline: Timeline, number: number): readonly [string, StateReturn] {
  const name = "startup";
  const row: StateReturn = {
    __id__: name,
    __sls__: "",
    __run_num__: number,
    __state_ran__: true,
    name,
    result: true,
    changes: {},
    comment: timeline.moments.map(({ what, ms }) => `${String(ms).padStart(7)} ms  ${what}`).join("\n"),
    start_time: new Date(timeline.moments.at(-1)?.at ?? 0).toTimeString().slice(0, 8).concat(".000000"),
    duration: 0,
  };
  return [`latchkey_|-${name}_|-${name}_|-timeline`, row];
}
