import { runScriptInGuest } from "../test/kernel/guest.ts";
import type { BenchResult } from "./table.ts";

/** What bench/volume-guest.ts prints. */
export interface VolumeFigures {
  readonly rotateMs: number;
  /** By the number of human slots beside the machine's. */
  readonly starts: readonly { readonly slots: number; readonly startMs: number; readonly openMs: number }[];
  readonly humanOpenMs: number;
}

/** A rotation of one host, and warm starts of a volume with people's slow slots beside the machine's, in one guest kernel. */
export async function run(): Promise<BenchResult> {
  const { output, kernel } = await runScriptInGuest("bench/volume-guest.ts");
  const figures = JSON.parse(
    output.split("\n").find((line) => line.startsWith('{"rotateMs"')) ?? "null",
  ) as VolumeFigures | null;
  if (!figures) throw new Error(`no figures in:\n${output}`);
  const { rotateMs, starts, humanOpenMs } = figures;
  const alone = starts.find(({ slots }) => slots === 0) ?? { startMs: Number.NaN, openMs: Number.NaN };
  return {
    rows: [
      { key: "volumeRotateMs", value: rotateMs, unit: "ms", note: "one host, one volume, its header put in escrow" },
      ...starts.map(({ slots, startMs, openMs }) => ({
        key: `volumeStart${slots}HumanSlotsMs`,
        value: startMs,
        unit: "ms",
        note: `stopped to mounted; cryptsetup open takes ${openMs} ms of it`,
      })),
      ...starts
        .filter(({ slots }) => slots > 0)
        .map(({ slots, openMs }) => ({
          key: `volumeOpen${slots}HumanSlotsRatio`,
          value: openMs / alone.openMs,
          unit: "x",
          budget: { limit: 1.5, good: "below", aim: 1.1 } as const,
          note: "cryptsetup open with the machine's key, over the same with no human slot",
        })),
      {
        key: "humanSlotAddMs",
        value: humanOpenMs,
        unit: "ms",
        note: "to add one argon2id slot: a derivation that a boot never pays",
      },
    ],
    remarks: [kernel],
  };
}
