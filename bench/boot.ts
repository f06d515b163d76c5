import { runScriptInGuest } from "../test/kernel/guest.ts";
import { buildBundle } from "./fleet.ts";
import type { BenchResult } from "./table.ts";

interface GuestFigures {
  readonly shellMs: number;
  readonly wholeMs: number;
  readonly runMs: number;
  readonly nodeMs: number;
  readonly masterMs: number;
  readonly programs: readonly string[];
  readonly timeline: readonly { readonly what: string; readonly at: number }[];
}

/** The startup run of an existing volume against the bare shell commands, in one guest kernel. */
export async function run(): Promise<BenchResult> {
  buildBundle();
  const { output, kernel } = await runScriptInGuest("bench/boot-guest.ts");
  const figures = JSON.parse(
    output.split("\n").find((line) => line.startsWith('{"shellMs"')) ?? "null",
  ) as GuestFigures | null;
  if (!figures) throw new Error(`no figures in:\n${output}`);
  const first = figures.timeline.find(({ what }) => what !== "kernel started")?.at ?? 0;
  return {
    rows: [
      {
        key: "startupOverShellRatio",
        value: (figures.wholeMs - figures.nodeMs) / figures.shellMs,
        unit: "x",
        budget: { limit: 1.3, good: "below", aim: 1.15 },
        note: "process start to volumes mounted, bare Node's start left out, over vgchange + cryptsetup + mount",
      },
      {
        key: "startupWithoutMasterOverShellRatio",
        value: (figures.wholeMs - figures.nodeMs - figures.masterMs) / figures.shellMs,
        unit: "x",
        note: "the master's CPU left out too: it shares the guest's one processor here, and is another machine elsewhere",
      },
      {
        key: "startupRunOverShellRatio",
        value: figures.runMs / figures.shellMs,
        unit: "x",
        note: "the state run alone, connection already up",
      },
      { key: "processesStarted", value: figures.programs.length, unit: "", note: figures.programs.join(", ") },
      { key: "shellMs", value: figures.shellMs, unit: "ms" },
      { key: "startupMs", value: figures.wholeMs, unit: "ms" },
      { key: "masterCpuMs", value: figures.masterMs, unit: "ms", note: "for one minion's start, startup run and end" },
      { key: "nodeStartMs", value: figures.nodeMs, unit: "ms" },
    ],
    remarks: [
      kernel,
      ...figures.timeline
        .filter(({ what }) => what !== "kernel started")
        .map(({ what, at }) => `${String(Math.round(at - first)).padStart(6)} ms  ${what}`),
    ],
  };
}
