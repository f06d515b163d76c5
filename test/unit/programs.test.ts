import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { GUEST_PACKAGES } from "../../lab/image-recipe.ts";
import { KERNEL_PACKAGES, LAB_PACKAGES } from "../../lab/packages.ts";
import { TEST_PACKAGES } from "../tools.ts";

const ROOT = resolve(import.meta.dirname, "../..");

/** In every Debian root from the start (`mmdebstrap --variant=minbase`): essential, or of priority "required". */
const BARE = [
  "base-files apt bash bsdutils coreutils dash dpkg e2fsprogs findutils libc-bin mount passwd perl-base util-linux",
].flatMap((names) => names.split(" "));

/** Which Debian package brings a program that this project starts. A new program belongs here and on a list that installs it. */
const PACKAGES: Readonly<Record<string, string>> = {
  age: "age age-keygen",
  apt: "apt-config apt-get",
  bash: "bash",
  bsdutils: "script",
  "btrfs-progs": "btrfs",
  coreutils:
    "cat chmod chroot cksum cp echo env false head mkdir mkfifo mknod nice printf pwd rm sleep stat sync touch true truncate",
  "cryptsetup-bin": "cryptsetup",
  dash: "sh",
  dpkg: "dpkg dpkg-query",
  e2fsprogs: "e2fsck mke2fs mkfs.ext4 resize2fs",
  findutils: "xargs",
  gcc: "cc",
  iproute2: "ip",
  kmod: "depmod",
  "libc-bin": "getent",
  lvm2: "dmsetup lvchange lvcreate lvextend lvremove pvcreate pvremove pvresize vgchange vgcreate vgremove",
  mmdebstrap: "mmdebstrap",
  mount: "losetup mount swapoff umount",
  openssl: "openssl",
  patchelf: "patchelf",
  "systemd-sysv": "systemctl systemd-notify",
  "util-linux": "blkid fallocate flock kill lsblk setpriv taskset unshare wipefs",
  xfsprogs: "xfs_growfs",
};

/** By the first folders of a file, the lists of which each installs all that is started there. */
const INSTALLED: Readonly<Record<string, readonly (readonly string[])[]>> = {
  // on hosts: the lab's own, and those of the kernel tests; there is no systemd among the latter
  src: [GUEST_PACKAGES, [...KERNEL_PACKAGES, "systemd-sysv"]],
  // lab/uml-environment.ts installs a compiler by itself where a CPU wants it; vgchange is the native demo's
  lab: [[...LAB_PACKAGES, "gcc", "lvm2"]],
  bench: [LAB_PACKAGES],
  "build.ts": [[]],
  "test/kernel": [KERNEL_PACKAGES],
  "test/lab": [LAB_PACKAGES],
  "test/cli": [TEST_PACKAGES],
  "test/contract": [TEST_PACKAGES],
  "test/unit": [TEST_PACKAGES],
  "test/vectors": [TEST_PACKAGES],
  test: [TEST_PACKAGES],
};

/** Unit tests name programs of hosts to a fake that starts none. */
const FAKED = new Set("blkid cryptsetup losetup lvchange mkfs.ext4 mount systemctl vgcreate wipefs".split(" "));

/** What stands where a program could and is none: our own commands, npm's programs, and what is meant to be missing. */
const NO_PROGRAMS = new Set(
  (
    "backup call master minion run vitest audit erase events header help highstate identity jobs keys lease leases pillar " +
    "restart secret start status stop unprovision volume operator ignore pipe req tool no-such-program-here"
  ).split(" "),
);

const NAME = String.raw`"((?:/[\w/]+/)?[a-z][\w.+-]*)"`;
const STARTS = [
  // run(["mount", …]), command(["ip", …])
  new RegExp(String.raw`\b(?:run|command|exec|execa)\w*(?:<[^>()]*>)?\(\s*\[\s*${NAME}`, "gu"),
  // spawn("sh", …), execFileSync("age", …)
  new RegExp(String.raw`\b(?:spawn|spawnSync|execFile|execFileSync|execFile\))\(\s*${NAME}`, "gu"),
  // const argv = ["apt-get", …], a list with an option of a program
  new RegExp(String.raw`\bargv\b[^=\n]*[=:]\s*\[\s*${NAME}`, "gu"),
  new RegExp(String.raw`[=(>:?]\s*\[\s*${NAME},\s*(?:["\x60][\w.:/-]+["\x60],\s*)*["\x60]--?[a-zA-Z]`, "gu"),
];

const nameOf = (word: string): string => (word.startsWith("/") ? (word.split("/").at(-1) ?? word) : word);

/** The programs that a file's text starts by a name that stands in it. */
const programsOf = (text: string): readonly string[] => [
  ...new Set(STARTS.flatMap((start) => [...text.matchAll(start)].map(([, word = ""]) => nameOf(word)))),
];

const packageOf = (program: string): string | undefined =>
  Object.keys(PACKAGES).find((name) => PACKAGES[name]?.split(" ").includes(program));

/** The key of INSTALLED that a file falls under: the longest that its path begins with. */
const placeOf = (file: string): string =>
  Object.keys(INSTALLED)
    .filter((place) => `${file}/`.startsWith(`${place}/`))
    .sort((a, b) => b.length - a.length)[0] ?? "";

const files = ["src", "lab", "bench", "test"]
  .flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)),
  )
  .filter((name) => name.endsWith(".ts") && !import.meta.filename.endsWith(name));

/** What is wrong with the programs that a text in the file starts. */
function complaints(file: string, text: string): readonly string[] {
  const place = placeOf(file);
  return programsOf(text)
    .filter((program) => !NO_PROGRAMS.has(program) && !(place === "test/unit" && FAKED.has(program)))
    .flatMap((program) => {
      const from = packageOf(program);
      if (from === undefined) return [`${file} starts "${program}": no package is known to bring it`];
      const lists = INSTALLED[place] ?? [];
      const everywhere = BARE.includes(from) || lists.every((list) => list.includes(from));
      return everywhere ? [] : [`${file} starts "${program}": nothing that ${place} relies on installs ${from}`];
    });
}

test("every program that is started comes with a bare Debian or is on the list that its place installs", () => {
  expect([...files, "build.ts"].flatMap((file) => complaints(file, readFileSync(join(ROOT, file), "utf8")))).toEqual(
    [],
  );
});

test("a unit starts only what the project brings", () => {
  const units = readdirSync(join(ROOT, "systemd")).filter((name) => name.endsWith(".service"));
  const started = units.flatMap((name) => [
    ...readFileSync(join(ROOT, "systemd", name), "utf8").matchAll(/^Exec\w+=[-+!@:]*(\S+)/gmu),
  ]);
  expect(started.length).toBeGreaterThan(1);
  expect(started.map(([, program = ""]) => program).filter((path) => !path.startsWith("/opt/latchkey/"))).toEqual([]);
});

test("the scan sees each way of starting a program, and names what nobody installs", () => {
  const text = `
    run(["one"]); command<string>([
      "two", "x"]); spawn("three", []); execFileSync("/usr/bin/four");
    const argv = ["five", option] as const; const install = ["six", "now", "--quiet"];`;
  expect(new Set(programsOf(text))).toEqual(new Set(["one", "two", "three", "four", "five", "six"]));
  expect(complaints("lab/x.ts", 'run(["ps"])')).toEqual(['lab/x.ts starts "ps": no package is known to bring it']);
  expect(complaints("test/contract/x.ts", 'run(["pvcreate"])')).toEqual([
    'test/contract/x.ts starts "pvcreate": nothing that test/contract relies on installs lvm2',
  ]);
});
