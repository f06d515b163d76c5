import { describe, expect, test } from "vitest";
import type { EscrowedHeader } from "../../../../src/core/volume-header.ts";
import type { LuksHeader } from "../../../../src/states/devices/luks-header.ts";
import { findDrift, isOtherDisk } from "../../../../src/minion/volume/drift.ts";
import { planRestore, type Present } from "../../../../src/minion/volume/restore-plan.ts";

const UUID = "2f1c0000-0000-4000-8000-000000000000";
const OTHER = "99990000-0000-4000-8000-000000000000";
const mark = (digit: string) => digit.repeat(16);
const slot = (number: number, version: number, digit: string, trusted = true) => ({
  slot: number,
  kdf: version > 0 ? "pbkdf2" : "argon2id",
  priority: "normal" as const,
  version,
  mark: mark(digit),
  trusted,
});
const disk = { serial: "QM1", bytes: 1000, pvUuids: ["pv1"] };
const escrowed: EscrowedHeader = {
  volume: "data",
  digest: "a".repeat(64),
  bytes: 100,
  luksUuid: UUID,
  reason: "rotate",
  device: "/dev/vg0/data",
  deviceBytes: 1000,
  disk,
  slots: [slot(0, 1, "1"), slot(1, 0, "2")],
  volumeKey: mark("7"),
  version: 3,
  at: 1_750_000_000_000,
  proven: { version: 1, at: 1 },
};
const present: Present = {
  kind: "sound",
  finding: "",
  luksUuid: UUID,
  volumeKey: mark("7"),
  digest: "b".repeat(64),
  slots: escrowed.slots,
  deviceBytes: 1000,
  disk,
  openUuid: undefined,
};
const plan = (changed: Partial<Present>, all: readonly EscrowedHeader[] = [escrowed]) =>
  planRestore(escrowed, { ...present, ...changed }, all);

describe("a header may come back", () => {
  test.each<[string, Partial<Present>]>([
    ["to the same header", {}],
    ["under an open mapping with the same volume key", { openUuid: UUID }],
    ["to a damaged header on a disk that LVM proves", { kind: "damaged", luksUuid: "", volumeKey: "" }],
    ["to nothing at all on a disk that LVM proves", { kind: "nothing", luksUuid: "", volumeKey: "", slots: [] }],
    ["to a disk that has a new serial and its physical volume", { disk: { ...disk, serial: "QM2" } }],
    ["to a group that has grown by a disk", { disk: { ...disk, pvUuids: ["pv1", "pv2"] }, deviceBytes: 2000 }],
    [
      "to a damaged header of an open mapping of the same UUID",
      { kind: "damaged", openUuid: UUID, disk: { serial: "", bytes: 1000, pvUuids: [] } },
    ],
  ])("%s", (_name, changed) => {
    expect(plan(changed).refusals).toEqual([]);
  });
});

describe("it is refused", () => {
  test.each<[string, Partial<Present>, RegExp]>([
    ["on another LUKS volume", { luksUuid: OTHER }, /another LUKS volume/u],
    ["on another disk", { disk: { ...disk, pvUuids: ["pv9"] } }, /another disk/u],
    ["on something that is not LUKS", { kind: "foreign", finding: "has a signature: ext4" }, /has a signature: ext4/u],
    ["on a device that is too small", { deviceBytes: 999 }, /less than/u],
    ["when the data has another volume key by now", { volumeKey: mark("8") }, /another volume key/u],
    ["under a mapping that was opened from another header", { openUuid: OTHER }, /was opened as/u],
    [
      "where nothing proves the disk",
      { kind: "nothing", disk: { serial: "", bytes: 1000, pvUuids: [] } },
      /nothing proves/u,
    ],
  ])("%s", (_name, changed, why) => {
    expect(plan(changed).refusals.join("\n")).toMatch(why);
  });

  test("when a newer header in escrow has another volume key and the one on the disk does not read", () => {
    const newer = { ...escrowed, version: 4, volumeKey: mark("8") };
    expect(plan({ kind: "damaged", luksUuid: "", volumeKey: "" }, [newer, escrowed]).refusals).toMatchObject([
      expect.stringContaining("another volume key"),
    ]);
  });
});

test("what would differ is told slot by slot", () => {
  const slots = [slot(0, 2, "3"), slot(2, 0, "4")];
  expect(plan({ slots }).differences).toEqual([
    "keyslot 0 opens with version 1 of the stored key again, no longer with version 2 of the stored key",
    "keyslot 1 comes back: a key of somebody's (argon2id)",
    "keyslot 2 goes: a key of somebody's (argon2id)",
  ]);
  expect(plan({ digest: escrowed.digest })).toMatchObject({ isDone: true, differences: [] });
});

const header: LuksHeader = { version: 2, uuid: UUID, label: "", sequence: 1, metadata: {}, atStart: true };
const drift = (slots: EscrowedHeader["slots"], more: object = {}) =>
  findDrift({ header, slots, digest: "c".repeat(64), ...more }, [escrowed], disk).map(({ code }) => code);

describe("drift", () => {
  test.each<[string, EscrowedHeader["slots"], string[]]>([
    ["none, though the header differs: a label was set", escrowed.slots, []],
    ["none after a rotation that was not backed up", [slot(1, 0, "2"), slot(3, 2, "5")], []],
    ["a slot that was added", [...escrowed.slots, slot(2, 0, "4")], ["unknown-slot", "header-changed"]],
    ["a slot made anew under an old number", [slot(0, 1, "1"), slot(1, 0, "9")], ["unknown-slot", "header-changed"]],
    ["the stored key's slot gone", [slot(1, 0, "2")], ["slot-gone", "header-changed"]],
    ["a human's slot gone is nobody's business", [slot(0, 1, "1")], []],
  ])("%s", (_name, slots, codes) => {
    expect(drift(slots)).toEqual(codes);
  });

  test("a slot that an earlier backup did not vouch for stays unknown", () => {
    const doubtful = { ...escrowed, slots: [slot(0, 1, "1"), slot(2, 0, "4", false)] };
    const found = findDrift({ header, slots: doubtful.slots, digest: doubtful.digest }, [doubtful], disk);
    expect(found.map(({ code }) => code)).toEqual(["unknown-slot"]);
  });

  test("another header, another disk; nothing without an escrow", () => {
    expect(drift(escrowed.slots, { header: { ...header, uuid: OTHER } })).toEqual(["header-replaced"]);
    const moved = { ...disk, pvUuids: ["pv9"] };
    const facts = { header, slots: escrowed.slots, digest: escrowed.digest };
    expect(findDrift(facts, [escrowed], moved).map(({ code }) => code)).toEqual(["disk-changed"]);
    expect(findDrift(facts, [], disk)).toEqual([]);
  });
});

test.each([
  [["pv1"], ["pv1"], "a", "b", false],
  [["pv1"], ["pv2"], "a", "a", true],
  [[], [], "a", "b", true],
  [[], [], "a", "a", false],
  [[], [], "", "b", false],
  [["pv1"], [], "a", "a", false],
])("disks %j and %j, serials %s and %s: another one is %s", (was, is, serialWas, serialIs, expected) => {
  const one = { serial: serialWas, bytes: 1, pvUuids: was };
  expect(isOtherDisk(one, { serial: serialIs, bytes: 1, pvUuids: is })).toBe(expected);
});
