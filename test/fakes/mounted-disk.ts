import type { FakeHost } from "./fake-host.ts";

/** Bytes of a device with an ext4 file system that has this UUID. */
function ext4Bytes(): Buffer {
  const bytes = Buffer.alloc(4096);
  const block = bytes.subarray(1024);
  block.writeUInt16LE(0xef53, 0x38);
  block.writeUInt16LE(1, 0x3a);
  block.writeUInt32LE(0x40, 0x60);
  block.write("0123456789abcdef", 0x68, "latin1");
  return bytes;
}

/** Puts a disk with an ext4 file system there, not mounted. */
export function addDisk(host: FakeHost, path: string, number: string): FakeHost {
  const name = path.slice("/dev/".length);
  return host
    .file(path, ext4Bytes(), { kind: "block", rdev: number })
    .link(`/sys/dev/block/${number}`, `/sys/class/block/${name}`)
    .file(`/sys/class/block/${name}/size`, "8")
    .directory(`/sys/class/block/${name}/holders`);
}

/** From now on exactly these are mounted: `[number, source, mount point]`. */
export function setMounts(host: FakeHost, mounts: readonly (readonly [string, string, string])[]): FakeHost {
  const lines = mounts.map(
    ([number, source, point], index) => `${30 + index} 1 ${number} / ${point} rw shared:1 - ext4 ${source} rw`,
  );
  for (const [, , point] of mounts) host.directory(point);
  return host.file("/proc/self/mountinfo", `${lines.join("\n")}\n`);
}
