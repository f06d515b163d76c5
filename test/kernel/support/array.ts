import { randomBytes } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { scribble, type Machine } from "./machine.ts";

const SECTOR = 512;
const MEMBERS = 2;

/** Superblock of one of two members of a RAID1 array, md 1.0 (Linux md_p.h, mdadm's super1.c): the kernel takes it as mdadm's own. */
function superblock(setUuid: Buffer, name: string, member: number, at: number): Buffer {
  const block = Buffer.alloc(SECTOR);
  const sector = BigInt(at / SECTOR);
  block.writeUInt32LE(0xa92b4efc, 0);
  block.writeUInt32LE(1, 4);
  setUuid.copy(block, 16);
  block.write(name, 32);
  block.writeUInt32LE(1, 72);
  block.writeBigUInt64LE(sector, 80);
  block.writeUInt32LE(MEMBERS, 92);
  block.writeBigUInt64LE(sector, 136);
  block.writeBigUInt64LE(sector, 144);
  block.writeUInt32LE(member, 160);
  randomBytes(16).copy(block, 168);
  // events, and no resync: both are blank
  block.writeBigUInt64LE(1n, 200);
  block.writeBigUInt64LE(2n ** 64n - 1n, 208);
  block.writeUInt32LE(MEMBERS, 220);
  for (let role = 0; role < MEMBERS; role += 1) block.writeUInt16LE(role, 256 + 2 * role);
  let sum = 0n;
  for (let word = 0; word < 256 + 2 * MEMBERS; word += 4) sum += BigInt(block.readUInt32LE(word));
  block.writeUInt32LE(Number(((sum & 0xffff_ffffn) + (sum >> 32n)) & 0xffff_ffffn), 216);
  return block;
}

const sysfs = (machine: Machine, path: string, text: string): Promise<unknown> =>
  machine.sh("bash", "-c", `printf %s "$1" >"$2"`, "bash", text, path);

/** A RAID1 array of two disks whose metadata lies at their ends, made by the kernel itself through /sys (md.rst). */
export class MirrorArray {
  readonly node: string;
  readonly #machine: Machine;
  readonly #disks: readonly string[];
  readonly #name: string;

  constructor(machine: Machine, name: string, disks: readonly string[]) {
    this.#machine = machine;
    this.#name = name;
    this.#disks = disks;
    this.node = `/dev/${name}`;
  }

  async create(label: string, bytes: number): Promise<void> {
    const uuid = randomBytes(16);
    const at = Math.floor((bytes / SECTOR - 16) / 8) * 8 * SECTOR;
    for (const [member, disk] of this.#disks.entries()) scribble(disk, at, superblock(uuid, label, member, at));
    await this.assemble();
  }

  async assemble(): Promise<void> {
    await sysfs(this.#machine, "/sys/module/md_mod/parameters/new_array", this.#name);
    const md = `/sys/block/${this.#name}/md`;
    await sysfs(this.#machine, `${md}/metadata_version`, "1.0");
    for (const disk of this.#disks) {
      const number = readFileSync(`/sys/class/block/${disk.slice("/dev/".length)}/dev`, "utf8").trim();
      await sysfs(this.#machine, `${md}/new_dev`, number);
    }
    await sysfs(this.#machine, `${md}/array_state`, "active");
    statSync(this.node);
  }

  async stop(): Promise<void> {
    await sysfs(this.#machine, `/sys/block/${this.#name}/md/array_state`, "clear");
  }
}
