import type { JobRequest } from "../core/control-api.ts";
import { isJsonObject, type Json } from "../core/json.ts";
import { collectJob } from "./collect-job.ts";
import type { Context } from "./context.ts";
import { type Cell, tableText } from "./format/table.ts";
import { documentText, parseOutput, returnText } from "./output.ts";

const listOf = (value: Json | undefined): string =>
  Array.isArray(value) ? value.filter((item) => typeof item === "string").join(" ") : "";
const wordOf = (value: Json | undefined): string => (typeof value === "string" ? value : "");

function rowsOf(id: string, data: Json): readonly (readonly Cell[])[] {
  if (!isJsonObject(data)) return [];
  return Object.entries(data).flatMap(([volume, status]) => {
    const layers = isJsonObject(status) && Array.isArray(status["layers"]) ? (status["layers"] as readonly Json[]) : [];
    return layers
      .filter(isJsonObject)
      .map((layer) => [
        { text: `${id}/${volume}` },
        { text: wordOf(layer["layer"]) },
        { text: wordOf(layer["name"]) },
        ...["base", "sub", "exposed"].map((key) => ({ text: listOf(layer[key]) || "-" })),
      ]);
  });
}

/** `volume devs`: base, sub and exposed devices a layer, as OpenSVC has them of a resource. */
export async function showDevices(request: JobRequest, out: string, context: Context): Promise<number> {
  const { terminal, paint } = context;
  const format = parseOutput(out);
  const results = await collectJob(request, context);
  const returned = [...results].flatMap(([id, result]) => (result.kind === "returned" ? [{ id, ...result }] : []));
  if (format === "text") {
    const rows = returned.filter(({ success }) => success).flatMap(({ id, data }) => rowsOf(id, data));
    const headings = ["VOLUME", "LAYER", "NAME", "BASE", "SUB", "EXPOSED"];
    if (rows.length > 0) terminal.print(tableText(headings, rows, paint));
    for (const { id, success, data } of returned) {
      if (!success) terminal.print(returnText({ id, fun: "", success, data }, paint));
    }
  } else terminal.print(documentText(Object.fromEntries(returned.map(({ id, data }) => [id, data])), format, paint));
  const silent = [...results].filter(([, { kind }]) => kind !== "returned").map(([id]) => id);
  if (silent.length > 0) terminal.warn(`${paint("yellow", `no answer: ${silent.join(", ")}`)}\n`);
  return silent.length === 0 && returned.every(({ success }) => success) ? 0 : 1;
}
