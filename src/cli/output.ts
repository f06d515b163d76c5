import { ConfigError } from "../core/errors.ts";
import { isJsonObject, type Json } from "../core/json.ts";
import { nestedLines } from "./format/nested.ts";
import type { Paint } from "./format/paint.ts";
import { safeJson, sanitiseLine } from "./format/sanitise.ts";
import { compileErrorText, isStateRun, stateRunText } from "./format/state-run.ts";
import { isVolumePlan, volumePlanText } from "./format/volume-plan.ts";
import { isVolumeRun, volumeRunText } from "./format/volume-run.ts";
import { yamlText } from "./format/yaml.ts";

const FORMATS = ["text", "json", "jsonl", "yaml"] as const;

/** `jsonl`: one JSON object a line and host, as returns come; `json` and `yaml`: one document with all hosts. */
export type OutputFormat = (typeof FORMATS)[number];

/** Throws ConfigError `bad-output` for anything but a known format. */
export function parseOutput(text: string): OutputFormat {
  const format = FORMATS.find((known) => known === text);
  if (format === undefined) {
    throw new ConfigError("bad-output", `cannot print as "${text}"`, { hint: `known formats: ${FORMATS.join(", ")}` });
  }
  return format;
}

/** One document in a format made for programs, or as nested text. */
export function documentText(value: Json, format: OutputFormat, paint: Paint): string {
  if (format === "json") return `${safeJson(value, 4)}\n`;
  if (format === "jsonl") return `${safeJson(value)}\n`;
  if (format === "yaml") return yamlText(value);
  return `${nestedLines(value, paint).join("\n")}\n`;
}

/** One host's return. */
export interface HostReturn {
  readonly id: string;
  readonly fun: string;
  readonly success: boolean;
  readonly data: Json;
}

/** One host's return as text in the shape Salt users know: a block a state, or nested data. Ends with a newline. */
export function returnText({ id, fun, success, data }: HostReturn, paint: Paint): string {
  const isRun = fun.startsWith("state.");
  if (isRun && isStateRun(data)) return stateRunText(id, data, paint);
  if (isRun && !success && Array.isArray(data)) return compileErrorText(id, data, paint);
  if (fun === "volume.plan" && isVolumePlan(data)) return volumePlanText(id, data, paint);
  if (fun.startsWith("volume.") && isVolumeRun(data)) return volumeRunText(id, data, paint);
  const empty =
    data === "" || (Array.isArray(data) && data.length === 0) || (isJsonObject(data) && Object.keys(data).length === 0);
  const lines = empty ? [] : nestedLines(data, paint, { indent: 4, failed: !success });
  return `${[paint(success ? "cyan" : "red", `${sanitiseLine(id)}:`), ...lines].join("\n")}\n`;
}
