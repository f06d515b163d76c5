import { expect, test } from "vitest";
import type { VolumeGroup } from "../../../../src/states/devices/lvm-metadata.ts";
import { wantedExtents } from "../../../../src/states/volume/grow-lvm.ts";

const MIB = 1024 * 1024;

/** 100 extents of 4 MiB on two disks; 30 of them are another volume's. */
const group: VolumeGroup = {
  name: "vg0",
  uuid: "u",
  sequence: 1,
  extentBytes: 4 * MIB,
  pvUuids: ["a", "b"],
  physical: [
    { uuid: "a", extents: 60, startBytes: MIB },
    { uuid: "b", extents: 40, startBytes: MIB },
  ],
  volumes: [
    { name: "mine", uuid: "m", extents: 20, allocated: 20, visible: true, uses: [] },
    { name: "other", uuid: "o", extents: 30, allocated: 30, visible: true, uses: [] },
  ],
};

test.each([
  [80 * MIB, 20],
  ["80M", 20],
  ["81M", 21],
  ["40M", 10],
  ["100%FREE", 70],
  ["50%FREE", 35],
  ["20%FREE", 20],
  ["50%VG", 50],
  ["100%VG", 70],
  ["10%VG", 20],
  ["25%PVS", 25],
])("a size of %s is %i extents", (size, extents) => {
  expect(wantedExtents(size, 20, group)).toBe(extents);
});

test("a size that is none is an error", () => {
  expect(() => wantedExtents("much", 20, group)).toThrow(/size/u);
});
