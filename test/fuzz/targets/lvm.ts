import { ProtocolError } from "../../../src/core/errors.ts";
import type { Host } from "../../../src/core/host.ts";
import { lvmCrc } from "../../../src/states/devices/crc32.ts";
import { readLvmLabel } from "../../../src/states/devices/lvm-label.ts";
import { readVolumeGroup, type VolumeGroup } from "../../../src/states/devices/lvm-metadata.ts";
import { promise, promisePlain, type Target } from "../target.ts";

const SECTOR = 512;
const AREA_AT = 4096;
const DEVICE = 64 * 1024;
const MAX_TEXT = 4000;

/**
 * An input is a byte of choices, what is written over the label's sector and over the header of the metadata area (64 bytes
 * each), and the metadata's text. Checksums are made right, but where the choices say otherwise.
 */
function deviceOf(bytes: Buffer): Buffer {
  const choices = bytes[0] ?? 0;
  const over = Buffer.concat([bytes.subarray(1, 129)], 128);
  const text = bytes.subarray(129, 129 + MAX_TEXT);
  const device = Buffer.alloc(DEVICE);
  const label = device.subarray(SECTOR, 2 * SECTOR);
  label.write("LABELONE", 0, "latin1");
  label.writeBigUInt64LE(1n, 8);
  label.writeUInt32LE(32, 20);
  label.write("LVM2 001", 24, "latin1");
  label.write("a".repeat(32), 32, "latin1");
  label.writeBigUInt64LE(BigInt(DEVICE), 64);
  // a data area, the end of the list, a metadata area
  for (const [at, number] of [
    [72, 1024 * 1024],
    [104, AREA_AT],
    [112, DEVICE - AREA_AT],
  ] as const) {
    label.writeBigUInt64LE(BigInt(number), at);
  }
  const area = device.subarray(AREA_AT, AREA_AT + SECTOR);
  area.write(" LVM2 x[5A%r0N*>", 4, "latin1");
  area.writeUInt32LE(1, 20);
  area.writeBigUInt64LE(BigInt(AREA_AT), 24);
  area.writeBigUInt64LE(BigInt(DEVICE - AREA_AT), 32);
  area.writeBigUInt64LE(BigInt(SECTOR), 40);
  area.writeBigUInt64LE(BigInt(text.length), 48);
  area.writeUInt32LE(lvmCrc(text), 56);
  text.copy(device, AREA_AT + SECTOR);
  if ((choices & 1) === 1) over.copy(label, 8, 0, 64);
  if ((choices & 2) === 2) over.copy(area, 4, 64, 128);
  if ((choices & 4) === 0) label.writeUInt32LE(lvmCrc(label.subarray(20)), 16);
  if ((choices & 8) === 0) area.writeUInt32LE(lvmCrc(area.subarray(4)), 0);
  return device;
}

function hostOf(device: Buffer): Host {
  const readRange = async (_path: string, at: number, length: number) => {
    promise("reads begin at whole, safe places", Number.isSafeInteger(at) && at >= 0);
    promise("reads are bounded", Number.isSafeInteger(length) && length >= 0 && length <= 32 * 1024 * 1024);
    return device.subarray(at, at + length);
  };
  return { readRange } as unknown as Host;
}

function check(group: VolumeGroup): void {
  promisePlain(group);
  const counts = [
    group.sequence,
    group.extentBytes,
    ...group.physical.flatMap(({ extents, startBytes }) => [extents, startBytes]),
  ];
  promise(
    "sizes are numbers",
    counts.every((count) => Number.isFinite(count)),
  );
  promise(
    "a volume takes a number of extents",
    group.volumes.every(({ extents, allocated }) => Number.isFinite(extents) && allocated <= extents),
  );
}

const TEXT = `vg0 {
id = "AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA"
seqno = 3
format = "lvm2" # informational
status = ["RESIZEABLE", "READ", "WRITE"]
extent_size = 8192
physical_volumes { pv0 { id = "BBBB" pe_start = 2048 pe_count = 255 } }
logical_volumes { data { id = "CCCC" status = ["READ", "VISIBLE"]
segment1 { start_extent = 0 extent_count = 100 type = "striped" stripes = ["pv0", 0] } } }
}
creation_time = 1700000000
`;

const inputOf = (choices: number, text: string) =>
  Buffer.concat([Buffer.of(choices), Buffer.alloc(128), Buffer.from(text)]);

export const target: Target = {
  covers: ["src/states/devices/lvm-label.ts", "src/states/devices/lvm-metadata.ts", "src/states/devices/lvm-text.ts"],
  refusals: [ProtocolError],
  dictionary: [
    "{",
    "}",
    "[",
    "]",
    "=",
    '"',
    "\\",
    "#",
    "1e309",
    "-1",
    "__proto__",
    "id = ",
    "extent_count = ",
    'type = "striped"',
    "\0",
  ],
  seeds: () => [
    inputOf(0, TEXT),
    inputOf(0, "{}"),
    inputOf(0, ""),
    inputOf(1, TEXT),
    inputOf(2, TEXT),
    inputOf(12, TEXT),
  ],
  decode: async (bytes) => {
    const host = hostOf(deviceOf(bytes));
    const found = await readLvmLabel(host, "/dev/x");
    if (found.kind !== "valid") return;
    const group = await readVolumeGroup(host, "/dev/x", found.label);
    if (group) check(group);
  },
};
