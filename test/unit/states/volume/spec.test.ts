import { describe, expect, test } from "vitest";
import type { Json } from "../../../../src/core/json.ts";
import type { z } from "../../../../src/core/schema.ts";
import { keyPathOf, parseVolume, readVolumes, volumeOf } from "../../../../src/states/volume/spec.ts";
import { volumeAbsent } from "../../../../src/states/volume/absent.ts";
import { volumeRunning } from "../../../../src/states/volume/running.ts";
import { volumeStopped } from "../../../../src/states/volume/stopped.ts";
import { stackSteps } from "../../../../src/states/volume/parts.ts";

const disk = { disk: "/dev/vdb" };
const luks = { key: "secret:volumes:data:luks:key" };
const fs = { type: "ext4" };
const mount = { point: "/srv/data" };

type Given = Parameters<typeof volumeOf>[1];
const given = (state: { readonly params: z.ZodType }, value: Record<string, Json>) =>
  state.params.parse(value) as Given;

test.each([
  [volumeRunning, {}],
  [volumeStopped, { kill_holders: true, force: true }],
  [volumeAbsent, { kill_holders: true, force: true, confirm: "data" }],
] as const)("$0.name takes the whole stack beside its own parameters", (state, own) => {
  const stack = { name: "data", ...disk, luks, fs, mount };
  const wanted = volumeOf({}, given(state, stack));
  expect(wanted).toMatchObject({ name: "data", disks: ["/dev/vdb"], luks, fs, mount });
  expect(volumeOf({}, given(state, { ...stack, ...own }))).toEqual(wanted);
});

test("a stack that was given as parameters is not called the pillar's", () => {
  const mistake = () => volumeOf({}, given(volumeStopped, { name: "data", ...disk, mount }));
  expect(mistake).toThrow('cannot use volume "data": a mount needs fs');
});

describe("readVolumes", () => {
  test("reads a whole stack, in the pillar's order, defaults filled in", () => {
    const volumes = readVolumes({
      volumes: {
        data: { ...disk, lvm: { vg: "vg0" }, luks, fs, mount, dependents: ["mariadb"] },
        logs: { loop: { file: "/var/lib/logs.img", size: "1G" }, fs: { type: "xfs" }, mount: { point: "/srv/logs" } },
      },
    });
    expect(volumes.map(({ name }) => name)).toEqual(["data", "logs"]);
    expect(volumes[0]).toMatchObject({
      disks: ["/dev/vdb"],
      lvm: { vg: "vg0", size: "100%FREE" },
      luks: { allow_discards: false, keyslots_size: "1M" },
      mount: { options: [] },
      check: true,
    });
    expect(volumes.map((volume) => keyPathOf(volume))).toEqual(["volumes:data:luks:key", undefined]);
  });

  test.each<[string, Record<string, Json>]>([
    ["no section", {}],
    ["an empty one", { volumes: null }],
  ])("%s declares nothing", (_, pillar) => {
    expect(readVolumes(pillar)).toEqual([]);
  });

  test.each<[string, Json, RegExp]>([
    ["a list", ["data"], /it is no mapping/u],
    ["a name in capitals", { Data: disk }, /"Data".*lower-case/u],
    ["a name that climbs", { "../data": disk }, /lower-case/u],
    ["a volume that is no mapping", { data: "disk" }, /volume "data"/u],
    ["an unknown layer", { data: { ...disk, raid: 1 } }, /volume "data".*raid/u],
    ["an unknown field in a layer", { data: { ...disk, luks: { ...luks, passphrase: "x" } } }, /luks/u],
    ["loop and disk", { data: { ...disk, loop: { file: "/x" } } }, /either loop or disk/u],
    ["neither", { data: { fs } }, /either loop or disk/u],
    ["several disks without lvm", { data: { disk: ["/dev/a", "/dev/b"] } }, /several disks need lvm/u],
    ["no disks", { data: { disk: [] } }, /disk/u],
    ["a relative disk", { data: { disk: "vdb" } }, /absolute path/u],
    ["a key in plain text", { data: { ...disk, luks: { key: "hunter2" } } }, /luks:key.*secret/u],
    ["a mapping name with a slash", { data: { ...disk, luks: { ...luks, name: "a/b" } } }, /luks:name/u],
    ["a group name that is an option", { data: { ...disk, lvm: { vg: "-v" } } }, /lvm:vg/u],
    ["an unknown file system", { data: { ...disk, fs: { type: "ntfs" } } }, /fs:type/u],
    ["a mount without fs", { data: { ...disk, mount } }, /a mount needs fs/u],
    ["a mount option with a comma", { data: { ...disk, fs, mount: { ...mount, options: ["a,b"] } } }, /mount:options/u],
    ["a mode that is none", { data: { ...disk, fs, mount: { ...mount, mode: "rwx" } } }, /mount:mode/u],
    ["dependents without a mount", { data: { ...disk, fs, dependents: ["a"] } }, /dependents need a mount/u],
    ["a dependent that is an option", { data: { ...disk, fs, mount, dependents: ["--now"] } }, /dependents:0/u],
  ])("%s is refused with the reason", (_, section, message) => {
    expect(() => readVolumes({ volumes: section })).toThrow(message);
  });

  test("no message repeats what was written where a key belongs", () => {
    const section = { data: { ...disk, luks: { key: "hunter2" } } };
    expect(() => readVolumes({ volumes: section })).not.toThrow(/hunter2/u);
  });

  test.each<[string, string, Json, Json]>([
    ["a key", "shared-key", { ...disk, luks }, { disk: "/dev/vdc", luks: { ...luks, name: "other" } }],
    ["a disk", "shared-device", disk, disk],
    ["a loop file", "shared-device", { loop: { file: "/x" } }, { loop: { file: "/x" } }],
    [
      "a logical volume",
      "shared-device",
      { ...disk, lvm: { vg: "v", lv: "l" } },
      { ...disk, lvm: { vg: "v", lv: "l" } },
    ],
    [
      "a mapping",
      "shared-device",
      { ...disk, luks: { ...luks, name: "m" } },
      { disk: "/dev/vdc", luks: { key: "secret:b", name: "m" } },
    ],
    ["a mount point", "shared-device", { ...disk, fs, mount }, { disk: "/dev/vdc", fs, mount }],
  ])("two volumes that share %s are refused", (_, code, a, b) => {
    expect(() => readVolumes({ volumes: { a, b } })).toThrow(expect.objectContaining({ code }));
  });

  test("two logical volumes on the same disks are no conflict", () => {
    const on = (lv: string) => ({ ...disk, lvm: { vg: "v", lv, size: "1G" } });
    expect(readVolumes({ volumes: { a: on("a"), b: on("b") } })).toHaveLength(2);
  });
});

describe("what a state's parameters mean", () => {
  const none = { dependents: [], check: true };
  const pillar = { volumes: { data: { ...disk, fs, mount } } };

  test("a name alone is a declared volume", () => {
    expect(volumeOf(pillar, { name: "data", ...none })).toMatchObject({ disks: ["/dev/vdb"], mount });
  });

  test("a whole stack needs no pillar", () => {
    expect(volumeOf({}, { name: "tmp", disk: "/dev/vdc", ...none })).toMatchObject({
      name: "tmp",
      disks: ["/dev/vdc"],
    });
  });

  test("layers without a base are refused rather than mixed with the pillar's", () => {
    expect(() => volumeOf(pillar, { name: "data", ...none, fs: { type: "xfs" } })).toThrow(/either loop or disk/u);
  });

  test("an unknown name says what there is", () => {
    expect(() => volumeOf(pillar, { name: "date", ...none })).toThrow(
      expect.objectContaining({ code: "no-volume", hint: "it has data" }),
    );
  });
});

test("the steps of a stack go from the bottom up, with the layers that it has and no other", () => {
  const layers = (value: Json) => stackSteps(parseVolume("data", value)).map(({ layer }) => layer);
  expect(layers({ loop: { file: "/x", size: "1G" }, luks, fs, mount })).toEqual(["loop", "luks", "fs", "mount"]);
  expect(layers({ disk: ["/dev/a", "/dev/b"], lvm: { vg: "v" }, luks, fs })).toEqual(["pv", "vg", "lv", "luks", "fs"]);
  expect(layers(disk)).toEqual([]);
});
