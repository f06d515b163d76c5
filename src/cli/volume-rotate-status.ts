import { isJsonObject, type Json } from "../core/json.ts";
import type { CampaignList, RotationEntry, RotationList, VolumeEntry, VolumeList } from "../core/volume-api.ts";
import type { Context } from "./context.ts";
import type { Colour } from "./format/paint.ts";
import { type Cell, tableText, timeText } from "./format/table.ts";
import { documentText, parseOutput } from "./output.ts";
import { campaignText } from "./volume-campaign.ts";

const COLOURS: Readonly<Record<RotationEntry["state"], Colour>> = {
  pending: "yellow",
  committed: "yellow",
  reverting: "yellow",
  done: "green",
  "rolled-back": "cyan",
};

/** What a rotation's state means for whoever waits for it. */
function stateText({ state, from, to, keepOld }: RotationEntry): string {
  switch (state) {
    case "pending":
      return `pending: still on version ${from}, ${to} is made`;
    case "committed":
      return keepOld ? `both slots kept: version ${from} opens it too` : `version ${from} still has its slot`;
    case "reverting":
      return `being rolled back from version ${to}`;
    case "done":
      return `done, from version ${from}`;
    case "rolled-back":
      return `rolled back from version ${to}`;
    default:
      return state satisfies never;
  }
}

const isOnNew = ({ state }: RotationEntry): boolean => state === "committed" || state === "done";

function rowOf(rotation: RotationEntry): readonly Cell[] {
  const { id, volume, from, to, changedAt, state } = rotation;
  return [
    { text: id },
    { text: volume },
    { text: String(isOnNew(rotation) ? to : from) },
    { text: timeText(changedAt) },
    { text: stateText(rotation), colour: COLOURS[state] },
  ];
}

function neverRotated({ id, volume, slots }: VolumeEntry): readonly Cell[] {
  const version = Math.max(0, ...slots.map((slot) => slot.version));
  return [
    { text: id },
    { text: volume },
    { text: version === 0 ? "-" : String(version) },
    { text: "-" },
    { text: "never rotated" },
  ];
}

/** `volume rotate status`: the version of each key, and what is under way. */
export async function showRotations(minion: string | undefined, out: string, context: Context): Promise<number> {
  const { client, terminal, paint } = context;
  const format = parseOutput(out);
  const query = minion === undefined ? "" : `?minion=${encodeURIComponent(minion)}`;
  const list = await client.request<RotationList>("GET", `/v1/rotations${query}`);
  if (format !== "text") {
    const plain: Json = JSON.parse(JSON.stringify(list)) as Json;
    terminal.print(documentText(isJsonObject(plain) ? plain : {}, format, paint));
    return 0;
  }
  const { volumes } = await client.request<VolumeList>("GET", `/v1/volumes${query}`);
  const { campaigns } = await client.request<CampaignList>("GET", "/v1/campaigns");
  const { rotations } = list;
  const others = volumes.filter(
    ({ id, volume, keyPath }) =>
      keyPath !== "" && !rotations.some((rotation) => rotation.id === id && rotation.volume === volume),
  );
  const rows = [...rotations.map(rowOf), ...others.map(neverRotated)];
  const last = campaigns.at(-1);
  if (last) terminal.print(`${campaignText(last)}\n`);
  if (rows.length === 0) terminal.print("no volume is known yet\n");
  else terminal.print(tableText(["MINION", "VOLUME", "VERSION", "SINCE", "ROTATION"], rows, paint));
  return 0;
}
