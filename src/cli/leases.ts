import type { LeaseList } from "../core/control-api.ts";
import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import type { Context } from "./context.ts";
import type { Colour } from "./format/paint.ts";
import { tableText, timeText } from "./format/table.ts";
import { documentText, type OutputFormat } from "./output.ts";

const VERDICTS: Readonly<Record<string, Colour>> = { allow: "green", hold: "yellow", deny: "red" };

const word = (value: Json | undefined) => (typeof value === "string" && value !== "" ? value : "-");

function tookText(receipt: JsonObject): string {
  const tookMs = receipt["tookMs"];
  return typeof tookMs === "number" ? `${word(receipt["outcome"])} ${Math.round(tookMs)} ms` : word(receipt["outcome"]);
}

/** What became of a key by its two receipts, each with its time from the key in hand; "-" when neither came. */
function fateOf({ receipt, mounted }: JsonObject): string {
  const used = isJsonObject(receipt)
    ? [`${tookText(receipt)}, ${receipt["wiped"] === true ? "wiped" : "NOT wiped"}`]
    : [];
  const proven = isJsonObject(mounted) ? [tookText(mounted)] : [];
  return [...used, ...proven].join("; ") || "-";
}

function rowOf(lease: JsonObject) {
  const verdict = word(lease["verdict"]);
  const colour = VERDICTS[verdict];
  return [
    { text: typeof lease["at"] === "number" ? timeText(lease["at"]) : "-" },
    { text: word(lease["id"]) },
    { text: word(lease["path"]) },
    { text: word(lease["purpose"]) },
    { text: word(lease["device"]) },
    colour === undefined ? { text: verdict } : { text: verdict, colour },
    { text: fateOf(lease) },
  ];
}

/** `leases`: the last releases and refusals of keys, newest first. */
export async function listLeases(limit: number, format: OutputFormat, context: Context): Promise<number> {
  const { client, terminal, paint } = context;
  const { leases } = await client.request<LeaseList>("GET", `/v1/leases?limit=${limit}`);
  if (format !== "text") terminal.print(documentText({ leases }, format, paint));
  else if (leases.length === 0) terminal.print("no leases yet\n");
  else {
    const headings = ["TIME", "MINION", "SECRET", "PURPOSE", "DEVICE", "VERDICT", "KEY"];
    terminal.print(tableText(headings, leases.map(rowOf), paint));
  }
  return 0;
}
