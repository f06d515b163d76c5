import { ProtocolError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import { lvmCrc } from "./crc32.ts";
import type { Extent, LvmLabel } from "./lvm-label.ts";
import { countAt, type LvmSection, parseLvmText, sectionAt, textAt } from "./lvm-text.ts";

const SECTOR = 512;
const MAGIC = Buffer.from(" LVM2 x[5A%r0N*>", "latin1");
const RAW_LOCATIONS = 40;
const IGNORED = 1;
const MAX_TEXT = 32 * 1024 * 1024;

/** A physical volume as the metadata of its group describes it. */
export interface PhysicalVolume {
  readonly uuid: string;
  /** Extents that the group counts on it. */
  readonly extents: number;
  /** Where the first of them begins, in bytes. */
  readonly startBytes: number;
}

/** A logical volume as the metadata describes it. */
export interface LogicalVolume {
  readonly name: string;
  readonly uuid: string;
  readonly extents: number;
  /** Extents of physical volumes that it takes itself: 0 for one that is made of others. */
  readonly allocated: number;
  /** Whether it is one that users see (not a part of another). */
  readonly visible: boolean;
  /** Names of the volumes that it cannot do without, or was copied from: origin of a snapshot, pool of a thin volume. */
  readonly uses: readonly string[];
}

/** A volume group as one physical volume's metadata area describes it. */
export interface VolumeGroup {
  readonly name: string;
  readonly uuid: string;
  /** Grows with every change: the highest of several copies is the latest. */
  readonly sequence: number;
  readonly extentBytes: number;
  readonly pvUuids: readonly string[];
  readonly physical: readonly PhysicalVolume[];
  readonly volumes: readonly LogicalVolume[];
}

/** Where the text of a metadata area lies; undefined when the area is empty (a physical volume of no group). */
export function parseAreaHeader(header: Buffer): { readonly text: Extent; readonly checksum: number } | undefined {
  const sound =
    header.length >= SECTOR &&
    header.subarray(4, 20).equals(MAGIC) &&
    header.readUInt32LE(20) === 1 &&
    header.readUInt32LE(0) === lvmCrc(header.subarray(4, SECTOR));
  if (!sound) throw new ProtocolError("bad-lvm-metadata", "cannot read LVM metadata: the area's header is damaged");
  const offset = Number(header.readBigUInt64LE(RAW_LOCATIONS));
  const size = Number(header.readBigUInt64LE(RAW_LOCATIONS + 8));
  const flags = header.readUInt32LE(RAW_LOCATIONS + 20);
  if (offset === 0 || size === 0 || flags & IGNORED) return undefined;
  return { text: { offset, size }, checksum: header.readUInt32LE(RAW_LOCATIONS + 16) };
}

/** Reads the metadata text: `name { id = … physical_volumes { … } logical_volumes { … } }`. Throws ProtocolError. */
export function parseVolumeGroup(text: string): VolumeGroup {
  const root = parseLvmText(text.replace(/\0+$/u, ""));
  const name = Object.keys(root).find((key) => sectionAt(root, key) !== undefined);
  const group = name === undefined ? undefined : sectionAt(root, name);
  const uuid = group && textAt(group, "id");
  if (name === undefined || group === undefined || uuid === undefined) {
    throw new ProtocolError("bad-lvm-metadata", "cannot read LVM metadata: there is no volume group in it");
  }
  const sections = (of: string): readonly [string, LvmSection][] => {
    const parent = sectionAt(group, of) ?? {};
    return Object.keys(parent).flatMap((key) => {
      const section = sectionAt(parent, key);
      return section === undefined ? [] : [[key, section] as [string, LvmSection]];
    });
  };
  return {
    name,
    uuid,
    sequence: countAt(group, "seqno") ?? 0,
    extentBytes: (countAt(group, "extent_size") ?? 0) * SECTOR,
    pvUuids: sections("physical_volumes").map(([, section]) => textAt(section, "id") ?? ""),
    physical: sections("physical_volumes").map(([, section]) => ({
      uuid: textAt(section, "id") ?? "",
      extents: countAt(section, "pe_count") ?? 0,
      startBytes: (countAt(section, "pe_start") ?? 0) * SECTOR,
    })),
    volumes: sections("logical_volumes").map(([volume, section]) => toVolume(volume, section)),
  };
}

/** Fields of a segment that name another volume (lvm2 lib/format_text): snapshots, thin volumes, caches. */
const USES = ["origin", "external_origin", "thin_pool", "cache_pool", "pool", "vdo_pool"] as const;

function toVolume(name: string, section: LvmSection): LogicalVolume {
  let extents = 0;
  let allocated = 0;
  let shown = name;
  const uses: string[] = [];
  for (const key of Object.keys(section)) {
    const segment = sectionAt(section, key);
    const count = segment === undefined ? 0 : (countAt(segment, "extent_count") ?? 0);
    extents += count;
    // all other kinds (raid, thin, snapshots) lie on volumes of their own
    if (segment !== undefined && textAt(segment, "type") === "striped") allocated += count;
    if (segment === undefined) continue;
    uses.push(...USES.flatMap((use) => textAt(segment, use) ?? []));
    // a snapshot is a hidden volume beside the one that has its name and keeps what changed
    shown = textAt(segment, "cow_store") ?? shown;
  }
  const status = section["status"];
  const visible = Array.isArray(status) && status.includes("VISIBLE");
  return { name: shown, uuid: textAt(section, "id") ?? "", extents, allocated, visible, uses };
}

/** Names of the volumes that go with another when it is removed, or still have what was in it: snapshots, volumes of a pool. */
export function sharersOf({ volumes }: Pick<VolumeGroup, "volumes">, name: string): readonly string[] {
  const shown = volumes.filter((volume) => volume.uses.includes(name)).map((volume) => volume.name);
  return [...new Set(shown)].toSorted();
}

async function readArea(host: Host, path: string, area: Extent): Promise<VolumeGroup | undefined> {
  const header = await host.readRange(path, area.offset, SECTOR);
  const found = header && parseAreaHeader(header);
  if (found === undefined) return undefined;
  const { offset, size } = found.text;
  if (size > MAX_TEXT || offset < SECTOR || offset >= area.size) {
    throw new ProtocolError("bad-lvm-metadata", "cannot read LVM metadata: its text lies outside its area");
  }
  // the text wraps around the end of the area to just behind the header
  const first = Math.min(size, area.size - offset);
  const parts = [await host.readRange(path, area.offset + offset, first)];
  if (first < size) parts.push(await host.readRange(path, area.offset + SECTOR, size - first));
  const text = Buffer.concat(parts.map((part) => part ?? Buffer.alloc(0)));
  if (text.length !== size || lvmCrc(text) !== found.checksum) {
    throw new ProtocolError("bad-lvm-metadata", "cannot read LVM metadata: its checksum is wrong");
  }
  return parseVolumeGroup(text.toString("utf8"));
}

/**
 * The volume group that a physical volume belongs to, from the first of its metadata areas that reads; undefined for a
 * physical volume of no group or without metadata. Throws ProtocolError `bad-lvm-metadata` when no area reads.
 */
export async function readVolumeGroup(host: Host, path: string, label: LvmLabel): Promise<VolumeGroup | undefined> {
  let failure: ProtocolError | undefined;
  for (const area of label.metadataAreas) {
    try {
      return await readArea(host, path, area);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      failure = error;
    }
  }
  if (failure) throw failure;
  return undefined;
}
