import type { Json } from "../core/json.ts";
import { formatSize } from "../core/units.ts";
import type { VolumeReport } from "../core/volume-report.ts";
import type { LayerState, LayerStatus } from "../core/volume-status.ts";
import type { Colour, Paint } from "./format/paint.ts";
import { ageText, type Cell, tableText } from "./format/table.ts";

/** A host's volumes, as it said just now or as the master last heard of them. */
export interface HostTree {
  readonly id: string;
  /** Why it did not answer; "" for one that did. */
  readonly why: string;
  readonly volumes: readonly {
    /** None for a host that did not answer. */
    readonly layers: readonly LayerStatus[];
    readonly report: VolumeReport;
    /** When the master heard it; 0 for just now. */
    readonly heardAt: number;
  }[];
  /** When a key of a volume was last released, by its name. */
  readonly lastLeases: ReadonlyMap<string, number>;
}

const COLOURS: Readonly<Record<LayerState | VolumeReport["state"], Colour>> = {
  up: "green",
  down: "red",
  "not-provisioned": "cyan",
  warn: "yellow",
  partial: "yellow",
  locked: "red",
};

const numberOf = (value: Json | undefined): number => (typeof value === "number" ? value : 0);
const wordOf = (value: Json | undefined): string => (typeof value === "string" ? value : "");

function slotsText(slots: VolumeReport["slots"]): string {
  const named = slots.map(({ slot, kdf, priority, version }) => {
    const whose = version > 0 ? `version ${version}` : kdf;
    return `${slot} ${whose}${priority === "normal" ? "" : `, ${priority}`}`;
  });
  return named.length === 0 ? "" : `keyslots ${named.join("; ")}`;
}

/** How far a re-encryption is; "" when none is under way. */
function reencryptionText({ details, bytes }: LayerStatus): string {
  const done = details["reencrypted"];
  return typeof done === "number" ? `${Math.floor((done / Math.max(1, bytes)) * 100)}% re-encrypted` : "";
}

function layerText(status: LayerStatus, report: VolumeReport): string {
  const { layer, details } = status;
  switch (layer) {
    case "disk":
      return [wordOf(details["serial"]), details["readOnly"] === true ? "read-only" : ""].filter(Boolean).join(", ");
    case "pv":
      return wordOf(details["uuid"]);
    case "luks":
      return [wordOf(details["cipher"]), reencryptionText(status), slotsText(report.slots)].filter(Boolean).join(", ");
    case "fs": {
      const total = numberOf(details["total"]);
      if (total === 0) return wordOf(details["uuid"]);
      const used = numberOf(details["used"]);
      const share = Math.ceil((used / Math.max(1, used + numberOf(details["available"]))) * 100);
      return `${share}% of ${formatSize(total)} used`;
    }
    case "mount":
      return wordOf(details["options"]);
    case "dependents":
      return wordOf(details["active"]);
    default:
      return "";
  }
}

const stateCell = (state: LayerState | VolumeReport["state"]): Cell => ({ text: state, colour: COLOURS[state] });

function volumeText(report: VolumeReport, lastLease: number, heardAt: number, now: number): string {
  const version = Math.max(0, ...report.slots.map((slot) => slot.version));
  return [
    version > 0 ? `key version ${version}` : "",
    lastLease > 0 ? `last lease ${ageText(now - lastLease)} ago` : "",
    report.proven.at > 0 ? `key proven ${ageText(now - report.proven.at)} ago` : "",
    heardAt > 0 ? `as reported ${ageText(now - heardAt)} ago` : "",
  ]
    .filter(Boolean)
    .join(", ");
}

/** All hosts as one table whose first column is a tree: hosts, their volumes, the layers of each from the bottom up. */
export function volumeTreeText(hosts: readonly HostTree[], now: number, paint: Paint): string {
  const rows: (readonly Cell[])[] = [];
  for (const { id, why, volumes, lastLeases } of hosts) {
    const none = volumes.length === 0 ? (why === "" ? "no volumes" : "no volumes are known") : "";
    const said = [why, none].filter(Boolean).join(", ");
    rows.push([
      { text: id, colour: "bold" },
      { text: "" },
      { text: "" },
      { text: "" },
      { text: said, colour: "yellow" },
    ]);
    for (const [index, { layers, report, heardAt }] of volumes.entries()) {
      const isLast = index === volumes.length - 1;
      const stem = isLast ? "   " : "│  ";
      const below = [
        ...layers.map((layer) => layerRow(layer, report)),
        ...report.problems.map((one) => problemRow(one)),
      ];
      rows.push([
        { text: `${isLast ? "└─" : "├─"} ${report.volume}` },
        { text: report.device },
        { text: report.disk.bytes > 0 ? formatSize(report.disk.bytes) : "" },
        stateCell(report.state),
        { text: volumeText(report, lastLeases.get(report.volume) ?? 0, heardAt, now) },
      ]);
      for (const [at, [first, ...rest]] of below.entries()) {
        const branch = at === below.length - 1 ? "└─" : "├─";
        rows.push([{ ...first, text: `${stem}${branch} ${first.text}` }, ...rest]);
      }
    }
  }
  return tableText(["VOLUME", "DEVICE", "SIZE", "STATE", "DETAILS"], rows, paint);
}

type Row = readonly [Cell, ...Cell[]];

function layerRow(layer: LayerStatus, report: VolumeReport): Row {
  const { name, device, bytes, state } = layer;
  const label = name === device ? layer.layer : `${layer.layer} ${name}`;
  const size = bytes > 0 ? formatSize(bytes) : "";
  return [{ text: label }, { text: device }, { text: size }, stateCell(state), { text: layerText(layer, report) }];
}

function problemRow({ text, fatal }: VolumeReport["problems"][number]): Row {
  const colour: Colour = fatal ? "red" : "yellow";
  const said = fatal ? `${text} (the next boot fails)` : text;
  return [{ text: "!", colour }, { text: "" }, { text: "" }, { text: "warn", colour }, { text: said, colour }];
}
