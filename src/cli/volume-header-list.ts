import type { HeaderList } from "../core/volume-header.ts";
import { formatSize } from "../core/units.ts";
import type { Context } from "./context.ts";
import { type Cell, tableText, timeText } from "./format/table.ts";
import { documentText, parseOutput } from "./output.ts";
import { parseVolumeTarget } from "./volume-target.ts";

type Entry = HeaderList["headers"][number];

const slotsText = ({ slots }: Entry): string =>
  slots
    .map(({ slot, version, trusted }) => `${slot}:${version > 0 ? `v${version}` : trusted ? "human" : "UNKNOWN"}`)
    .join(" ");

function rowOf(entry: Entry): readonly Cell[] {
  const { id, volume, version, at, reason, bytes, luksUuid, proven } = entry;
  const opens: Cell =
    proven.version > 0
      ? { text: `version ${proven.version}`, colour: "green" }
      : { text: "no stored key", colour: "red" };
  return [
    { text: id },
    { text: volume },
    { text: String(version) },
    { text: timeText(at) },
    { text: reason },
    { text: formatSize(bytes) },
    { text: luksUuid },
    { text: slotsText(entry) || "-" },
    opens,
  ];
}

/** `volume header list`: what the master has in escrow. 1 when there is nothing. */
export async function listHeaders(target: string, out: string, context: Context): Promise<number> {
  const { client, terminal, paint } = context;
  const format = parseOutput(out);
  const { minions, volumes } = parseVolumeTarget(target);
  const names = volumes.length === 0 ? "" : `&volumes=${encodeURIComponent(volumes.join(","))}`;
  const { headers } = await client.request<HeaderList>(
    "GET",
    `/v1/headers?match=${encodeURIComponent(minions)}${names}`,
  );
  if (format !== "text")
    terminal.print(documentText({ headers: headers.map((header) => ({ ...header })) }, format, paint));
  else if (headers.length === 0) terminal.print("no header is in escrow\n");
  else {
    const headings = ["MINION", "VOLUME", "HEADER", "STORED", "AFTER", "SIZE", "LUKS UUID", "KEYSLOTS", "OPENS WITH"];
    terminal.print(tableText(headings, headers.map(rowOf), paint));
  }
  return headers.length === 0 ? 1 : 0;
}
