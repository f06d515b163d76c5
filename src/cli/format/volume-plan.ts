import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";
import type { Paint } from "./paint.ts";
import { sanitise, sanitiseLine } from "./sanitise.ts";

type Plan = JsonObject & { readonly steps: readonly Json[] };

/** Whether a return is that of `volume.plan`: result, comment and steps for each volume. */
export function isVolumePlan(data: Json): data is Readonly<Record<string, Plan>> {
  return (
    isJsonObject(data) &&
    Object.values(data).every((row) => isJsonObject(row) && Array.isArray(row["steps"]) && "comment" in row)
  );
}

const word = (value: Json | undefined): string => (typeof value === "string" ? sanitiseLine(value) : "");

function stepLines(step: JsonObject, number: number, paint: Paint): readonly string[] {
  const subject = word(step["subject"]);
  const what = word(step["what"]);
  const at = what.includes(subject) ? what : `${what} ${subject}`;
  const from = word(step["from"]);
  const change = from === "-" || from === "" ? word(step["to"]) : `${from} > ${word(step["to"])}`;
  const later = step["seen"] === false ? "  (foreseen)" : "";
  const line = `      ${String(number).padStart(2)}. ${at}: ${change}${later}`;
  if (step["destructive"] !== true) return [line];
  const { device } = step;
  const facts = isJsonObject(device)
    ? [
        `          on ${word(device["path"])}, serial ${word(device["serial"]) || "none"}, ${word(device["size"])}: ${word(device["found"])}`,
      ]
    : [];
  return [paint("yellow", `${line}  WRITES`), ...facts.map((fact) => paint("yellow", fact))];
}

/** What would be done with each volume of a host, steps that write on a device marked with the device's facts. */
export function volumePlanText(host: string, data: Readonly<Record<string, Plan>>, paint: Paint): string {
  const lines = [paint("cyan", `${sanitiseLine(host)}:`)];
  let isForeseen = false;
  for (const [name, { result, comment, steps }] of Object.entries(data)) {
    const [first = "", ...rest] = (typeof comment === "string" ? sanitise(comment) : "").trimEnd().split("\n");
    const colour = result === true ? (steps.length === 0 ? "green" : "cyan") : "red";
    lines.push(paint(colour, `    ${sanitiseLine(name)}: ${result === true ? first : `REFUSED: ${first}`}`));
    lines.push(...rest.map((line) => paint(colour, `      ${line}`)));
    for (const [index, step] of steps.entries()) {
      if (!isJsonObject(step)) continue;
      lines.push(...stepLines(step, index + 1, paint));
      isForeseen ||= step["seen"] === false;
    }
  }
  if (isForeseen)
    lines.push(paint("dim", "    foreseen: it follows from the layers below, which are not there yet to be looked at"));
  return `${lines.join("\n")}\n`;
}
