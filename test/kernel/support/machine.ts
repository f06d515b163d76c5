import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Host } from "../../../src/core/host.ts";
import { createHost } from "../../../src/minion/host.ts";
import { readMounts } from "../../../src/states/devices/mount-table.ts";

const MIB = 1024 * 1024;

/** The real host; where no udev runs the tools are told so. */
export function realHost(): Host {
  const host = createHost();
  const noUdev = process.env["DM_DISABLE_UDEV"];
  if (noUdev === undefined) return host;
  return {
    ...host,
    run: (argv, options = {}) => host.run(argv, { ...options, env: { ...options.env, DM_DISABLE_UDEV: noUdev } }),
  };
}

/** A real kernel with disks to spoil. Everything it makes carries its tag and is gone after `dispose`. */
export class Machine {
  readonly host = realHost();
  readonly tag = `lkt${randomBytes(4).toString("hex")}`;
  readonly directory = mkdtempSync(join(tmpdir(), "latchkey-kernel-"));
  readonly #loops: string[] = [];

  /** A blank disk (a loop device on a sparse file in memory), by its path. */
  async disk(mib: number): Promise<string> {
    const file = this.file(`disk${this.#loops.length}-${randomBytes(2).toString("hex")}`, mib);
    const { stdout } = await this.host.run(["losetup", "--find", "--show", file]);
    const path = stdout.trim();
    this.#loops.push(path);
    return path;
  }

  /** A sparse file of that size. */
  file(name: string, mib: number): string {
    const path = join(this.directory, name);
    writeFileSync(path, "");
    truncateSync(path, mib * MIB);
    return path;
  }

  /** A new empty directory. */
  makeDirectory(name: string): string {
    const path = join(this.directory, name);
    mkdirSync(path);
    return path;
  }

  /** A name that no other machine uses, for volume groups and mappings. */
  name(suffix: string): string {
    return `${this.tag}${suffix}`;
  }

  async sh(...argv: [string, ...string[]]): Promise<string> {
    return (await this.host.run(argv)).stdout;
  }

  async shWith(stdin: Uint8Array, ...argv: [string, ...string[]]): Promise<string> {
    return (await this.host.run(argv, { stdin: Buffer.from(stdin) })).stdout;
  }

  /** Unmounts, closes and detaches everything of this machine. */
  async dispose(): Promise<void> {
    const { host } = this;
    const points = (await readMounts(host)).map(({ mountPoint }) => mountPoint);
    for (const point of points.filter((path) => path.startsWith(this.directory)).toReversed()) {
      await this.sh("umount", point);
    }
    const okCodes = [0, 1, 2, 3, 4, 5, 255];
    const listed = await host.run(["dmsetup", "ls", "--noheadings"], { okCodes });
    const names = listed.stdout.split("\n").flatMap((line) => line.split(/\s/u)[0] ?? []);
    const ours = names.filter((name) => name.startsWith(this.tag));
    // those that hold others come last in no particular order: twice gets all of them
    for (const name of [...ours, ...ours, ...ours]) await host.run(["dmsetup", "remove", name], { okCodes });
    for (const loop of this.#loops) {
      await host.run(["swapoff", loop], { okCodes });
      await host.run(["losetup", "--detach", loop], { okCodes });
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const ZEROS = Buffer.alloc(4 * MIB);

/** SHA-256 over all that a device holds, read through the device: pieces that are not zero, with their places. */
export function hashOf(path: string): string {
  const hash = createHash("sha256");
  const file = openSync(path, "r");
  const chunk = Buffer.allocUnsafe(4 * MIB);
  try {
    let at = 0;
    for (let read = readSync(file, chunk); read > 0; read = readSync(file, chunk)) {
      // zeros, of which a blank disk is full, count by leaving a gap: comparing is quicker than hashing
      if (!chunk.subarray(0, read).equals(ZEROS.subarray(0, read)))
        hash.update(`${at}:`).update(chunk.subarray(0, read));
      at += read;
    }
    hash.update(String(at));
  } finally {
    closeSync(file);
  }
  return hash.digest("hex");
}

/** Writes bytes to a device, as a torn write or another program would. */
export function scribble(path: string, offset: number, bytes: Uint8Array): void {
  const file = openSync(path, "r+");
  try {
    writeSync(file, bytes, 0, bytes.length, offset);
  } finally {
    closeSync(file);
  }
}
