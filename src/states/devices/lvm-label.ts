import type { Host } from "../../core/host.ts";
import { dashLvmUuid } from "./base62-uuid.ts";
import { lvmCrc } from "./crc32.ts";

const SECTOR = 512;
const LABEL_ID = "LABELONE";
const LABEL_TYPE = "LVM2 001";
const DISK_LOCATION = 16;

/** A place on a device, in bytes. */
export interface Extent {
  readonly offset: number;
  readonly size: number;
}

/** The label that makes a device a physical volume (lib/format_text/layout.h). */
export interface LvmLabel {
  readonly pvUuid: string;
  readonly deviceSize: number;
  readonly metadataAreas: readonly Extent[];
}

/** What the first four sectors say: no label, one that reads, or one whose checksum or layout is wrong. */
export type LabelFinding =
  | { readonly kind: "none" }
  | { readonly kind: "damaged" }
  | { readonly kind: "valid"; readonly label: LvmLabel };

function readExtents(sector: Buffer, start: number): { readonly extents: readonly Extent[]; readonly next: number } {
  const extents: Extent[] = [];
  let at = start;
  while (at + DISK_LOCATION <= sector.length) {
    const offset = Number(sector.readBigUInt64LE(at));
    const size = Number(sector.readBigUInt64LE(at + 8));
    at += DISK_LOCATION;
    if (offset === 0) break;
    extents.push({ offset, size });
  }
  return { extents, next: at };
}

function parseSector(sector: Buffer, index: number): LabelFinding {
  if (sector.toString("latin1", 0, 8) !== LABEL_ID) return { kind: "none" };
  const headerOffset = sector.readUInt32LE(20);
  const sound =
    sector.readBigUInt64LE(8) === BigInt(index) &&
    sector.readUInt32LE(16) === lvmCrc(sector.subarray(20)) &&
    sector.toString("latin1", 24, 32) === LABEL_TYPE &&
    headerOffset >= 32 &&
    headerOffset + 40 + 2 * DISK_LOCATION <= SECTOR;
  if (!sound) return { kind: "damaged" };
  const data = readExtents(sector, headerOffset + 40);
  const metadata = readExtents(sector, data.next);
  const areExact = metadata.extents.every(({ offset, size }) => Number.isSafeInteger(offset + size));
  if (!areExact) return { kind: "damaged" };
  return {
    kind: "valid",
    label: {
      pvUuid: dashLvmUuid(sector.toString("latin1", headerOffset, headerOffset + 32)),
      deviceSize: Number(sector.readBigUInt64LE(headerOffset + 32)),
      metadataAreas: metadata.extents,
    },
  };
}

/** Reads the label from a device's first 2 KiB; a device that is shorter has none. */
export function parseLvmLabel(start: Buffer): LabelFinding {
  let damaged = false;
  for (let index = 0; index < 4 && (index + 1) * SECTOR <= start.length; index += 1) {
    const finding = parseSector(start.subarray(index * SECTOR, (index + 1) * SECTOR), index);
    if (finding.kind === "valid") return finding;
    damaged ||= finding.kind === "damaged";
  }
  return { kind: damaged ? "damaged" : "none" };
}

/** The LVM label of a block device or image file. */
export async function readLvmLabel(host: Host, path: string): Promise<LabelFinding> {
  const start = await host.readRange(path, 0, 4 * SECTOR);
  return start === undefined ? { kind: "none" } : parseLvmLabel(start);
}
