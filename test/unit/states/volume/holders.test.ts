import { expect, test } from "vitest";
import { describeHolders, findHolders, isAlive } from "../../../../src/states/volume/holders.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";

function addProcess(
  host: FakeHost,
  pid: number,
  name: string,
  links: Readonly<Record<string, string>>,
  maps = "",
): void {
  const base = `/proc/${pid}`;
  host.directory(`${base}/fd`);
  host.file(`${base}/comm`, `${name}\n`).file(`${base}/maps`, maps);
  host.file(`${base}/cgroup`, `0::/system.slice/${name}.service\n`);
  host.file(`${base}/stat`, `${pid} (${name} (x) y) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 ${pid}00 1 1\n`);
  for (const [link, target] of Object.entries({ "ns/mnt": "mnt:[1]", ...links })) host.link(`${base}/${link}`, target);
}

function machine(): FakeHost {
  const host = new FakeHost();
  host.directory("/srv/data").link("/proc/self/ns/mnt", "mnt:[1]").directory("/sys/class/block");
  host.file(
    "/proc/self/mountinfo",
    "20 1 254:3 / /srv/data rw - ext4 /dev/mapper/data rw\n21 20 0:40 / /srv/data/tmp rw - tmpfs tmpfs rw\n",
  );
  host.file("/proc/swaps", "Filename Type Size Used Priority\n/srv/data/swap file 1 0 -2\n");
  host.file("/sys/class/block/loop3/loop/backing_file", "/srv/data/disk.img\n");
  addProcess(host, 9, "other", { cwd: "/srv/database", root: "/", "fd/0": "/srv/dat" });
  addProcess(host, 10, "mariadbd", { cwd: "/srv/data/mysql", "fd/7": "/srv/data/mysql/ibdata1" });
  addProcess(host, 11, "bash", { cwd: "/srv/data" });
  addProcess(host, 12, "chrooted", { root: "/srv/data/jail" });
  addProcess(host, 13, "tool", { exe: "/srv/data/bin/tool" });
  addProcess(host, 14, "mapper", {}, "7f00-7f01 r--p 00000000 fe:03 12  /srv/data/lib.so\n");
  addProcess(host, 15, "gone", { "fd/3": "/srv/data/removed (deleted)" });
  return host;
}

test("a busy mount's holders are named: files, directories, programs, maps, mounts, loops, swap; nobody else", async () => {
  expect(describeHolders(await findHolders(machine(), "/srv/data"))).toEqual([
    "mariadbd (pid 10 of mariadbd.service): open file /srv/data/mysql/ibdata1",
    "bash (pid 11 of bash.service): working directory /srv/data",
    "chrooted (pid 12 of chrooted.service): root directory /srv/data/jail",
    "tool (pid 13 of tool.service): program /srv/data/bin/tool",
    "mapper (pid 14 of mapper.service): mapped file /srv/data/lib.so",
    "gone (pid 15 of gone.service): open file /srv/data/removed (deleted)",
    "mounted below it: /srv/data/tmp",
    "loop device on a file in it: /dev/loop3 (/srv/data/disk.img)",
    "swap file in it: /srv/data/swap",
  ]);
});

test("a process of another mount namespace is told by the device of its files", async () => {
  const host = machine();
  addProcess(host, 20, "inside", { "ns/mnt": "mnt:[2]", "fd/4": "/data/file" });
  host.file("/data/file", "");
  const { processes } = await findHolders(host, "/srv/data");
  expect(processes.find(({ pid }) => pid === 20)).toMatchObject({ name: "inside", path: "/data/file" });
});

test("a process is only ended while it is the very one that was found", async () => {
  const host = machine();
  const [holder] = (await findHolders(host, "/srv/data")).processes;
  if (holder === undefined) throw new Error("no holder");
  expect(await isAlive(host, holder)).toBe(true);
  expect(await isAlive(host, { ...holder, startTicks: "1" })).toBe(false);
  expect(await isAlive(host, { ...holder, pid: 4711 })).toBe(false);
});
