import { expect, test } from "vitest";
import { STATES } from "../../../src/states/registry.ts";

const LVM = { size: "1G" };
const HOSTILE: readonly (readonly [string, Readonly<Record<string, unknown>>])[] = [
  ["lvm.vg_present", { name: "--config=x", devices: "/dev/sdb" }],
  ["lvm.vg_present", { name: "", devices: "/dev/sdb" }],
  ["lvm.vg_present", { name: "..", devices: "/dev/sdb" }],
  ["lvm.vg_present", { name: "a b", devices: "/dev/sdb" }],
  ["lvm.vg_present", { name: "vg0", devices: "sdb" }],
  ["lvm.vg_present", { name: "vg0", devices: [] }],
  ["lvm.pv_present", { name: "-ff" }],
  ["lvm.lv_present", { ...LVM, name: "-n", vgname: "vg0" }],
  ["lvm.lv_present", { ...LVM, name: "a/b", vgname: "vg0" }],
  ["lvm.lv_present", { ...LVM, name: "data", vgname: "" }],
  ["lvm.lv_present", { ...LVM, name: "data" }],
  ["lvm.lv_present", { name: "data", vgname: "vg0" }],
  ["luks.formatted", { name: "/dev/sdb", key: "hunter2" }],
  ["luks.formatted", { name: "/dev/sdb", key: "secret:a", cipher: "--force-password" }],
  ["luks.formatted", { name: "/dev/sdb", key: "secret:a", force: true }],
  ["luks.opened", { name: "--readonly", device: "/dev/sdb", key: "secret:a" }],
  ["luks.opened", { name: "../x", device: "/dev/sdb", key: "secret:a" }],
  ["luks.opened", { name: "control", device: "/dev/sdb", key: "secret:a" }],
  ["fs.formatted", { name: "/dev/sdb", fstype: "ext4", label: "-F" }],
  ["fs.formatted", { name: "/dev/sdb", fstype: "ext4", force: true }],
  ["fs.formatted", { name: "/dev/sdb", fstype: "-v" }],
  ["fs.formatted", { name: "/dev/sdb", fstype: "xfs", label: "thirteen-char" }],
  ["mount.mounted", { name: "/x", device: "-a", fstype: "ext4" }],
  ["mount.mounted", { name: "/x", device: "/dev/sdb", fstype: "--all" }],
  ["mount.mounted", { name: "/x", device: "/dev/sdb", fstype: "ext4", opts: ["a,b"] }],
  ["loop.attached", { name: "/x", device: "/dev/sdb" }],
  ["loop.detached", { name: "--all" }],
  ["luks.closed", { name: "--deferred" }],
  ["luks.closed", { name: "../x" }],
  ["mount.unmounted", { name: "--all" }],
  ["lvm.lv_inactive", { name: "data", vgname: "--all" }],
  ["lvm.lv_absent", { name: "-f", vgname: "vg0" }],
  ["lvm.lv_absent", { name: "data", vgname: "vg0", force: true }],
  ["lvm.lv_absent", { name: "data", vgname: "vg0", lose: "all" }],
  ["service.running", { name: "--root=/x" }],
  ["file.directory", { name: "x" }],
  ["file.managed", { name: "/x", mode: "0x1ff" }],
  ["file.managed", { name: "/x", mode: 688 }],
];

test.each(HOSTILE)(
  "lesson: 2020-16846 2020-28243 2021-3148 2021-3197 no shell, no option injection: %s refuses %j",
  (name, params) => {
    const state = STATES.find((candidate) => candidate.name === name);
    expect(state?.params.safeParse(params).success).toBe(false);
  },
);

test("lesson: #30882 an empty volume group name is refused before anything runs", () => {
  const state = STATES.find(({ name }) => name === "lvm.lv_present");
  expect(state?.params.safeParse({ name: "data", vgname: "", size: "1G" }).success).toBe(false);
});

const PLAIN: readonly (readonly [string, Readonly<Record<string, unknown>>])[] = [
  ["lvm.pv_present", { name: "/dev/disk/by-id/ata-X_1" }],
  ["lvm.vg_present", { name: "vg-0.x", devices: ["/dev/sdb", "/dev/sdc"] }],
  ["lvm.lv_present", { name: "data", vgname: "vg0", size: "100%FREE" }],
  ["lvm.lv_present", { name: "data", vg: "vg0", extents: "50%VG" }],
  ["luks.formatted", { name: "/dev/vg0/data", key: "secret:password", cipher: "aes-xts-plain64" }],
  ["mount.mounted", { name: "/x", device: "/dev/sdb", fstype: "ext4", opts: "noatime,data=ordered", persist: true }],
  ["service.running", { name: "getty@tty1.service", enable: true }],
  ["file.managed", { name: "/x", mode: 644, contents: ["a", 1, true] }],
];

test.each(PLAIN)("%s accepts %j", (name, params) => {
  const state = STATES.find((candidate) => candidate.name === name);
  expect(state?.params.safeParse(params).error).toBeUndefined();
});
