import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "../../../../src/core/json.ts";
import { VOLUME_STEPS, type VolumeOperation, type VolumeStep } from "../../../../src/core/volume-steps.ts";

/** A volume of the matrix. */
export interface MatrixVolume {
  readonly name: string;
  readonly sizeMiB: number;
  /** Room for keyslots; 1M when not given. */
  readonly keyslotsSize?: string;
}

/** The pillar of the matrix's host: loop > PV > VG > LV > LUKS > ext4 > mount, every layer that can be killed in the making. */
export function pillarOf(volumes: readonly MatrixVolume[], directory: string): string {
  const lines = volumes.flatMap(({ name, sizeMiB, keyslotsSize = "1M" }) => [
    `  ${name}:`,
    `    loop: {file: ${join(directory, `${name}.img`)}, size: ${sizeMiB}M, sparse: true}`,
    `    lvm: {vg: vgx${name}, lv: data, size: 100%FREE}`,
    "    luks:",
    "      key: !generate",
    `      keyslots_size: ${keyslotsSize}`,
    "    fs: {type: ext4}",
    `    mount: {point: ${join(directory, `mnt-${name}`)}}`,
  ]);
  return volumes.length === 0 ? "{}\n" : `volumes:\n${lines.join("\n")}\n`;
}

/** The secret that a volume of `pillarOf` opens with. */
export const keyPathOf = (name: string): string => `volumes:${name}:luks:key`;

/** The device of such a volume that has the LUKS header. */
export const encryptedDeviceOf = (name: string): string => `/dev/vgx${name}/data`;

/** What is run to have an operation's steps reached. */
export const JOB_OF: Readonly<Record<VolumeOperation, string>> = {
  provision: "volume.provision",
  rotate: "volume.rotate",
  header: "volume.rotate",
  grow: "volume.provision",
  unprovision: "volume.unprovision",
};

/** The arguments of a job on one volume. */
export const kwargsOf = (fun: string, name: string): JsonObject =>
  fun === JOB_OF.unprovision ? { names: [name], confirm: [name] } : { names: [name] };

/** The operations, in the order in which a volume lives through them. */
export const OPERATIONS: readonly VolumeOperation[] = ["provision", "rotate", "header", "grow", "unprovision"];

/** The steps of an operation, as the code lists them. */
export const stepsOf = (operation: VolumeOperation): readonly VolumeStep[] => VOLUME_STEPS[operation];

/** The operation that a step belongs to. */
export const operationOf = (step: VolumeStep): VolumeOperation => step.split(":")[0] as VolumeOperation;

/** Whether the volume is past its making at this step, and not yet given up: then it has to open. */
export function mustOpenAt(step: VolumeStep): boolean {
  const operation = operationOf(step);
  const making = stepsOf("provision");
  if (operation === "provision") return making.indexOf(step) >= making.indexOf("provision:luks-committed");
  return operation !== "unprovision" || step === "unprovision:noted" || step === "unprovision:stopped";
}

/** SHA-256 of a file, hex. */
export const sumOf = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

/** Writes a file of random content, waits until it is on the disk, and tells its SHA-256. */
export function writeDurably(path: string): string {
  writeFileSync(path, randomBytes(200_000), { flush: true });
  return sumOf(path);
}

/** Files with random content and their checksums: what must be there, unchanged, after every death. */
export class Witnesses {
  readonly #sums = new Map<string, string>();
  #looks = 0;

  add(path: string): void {
    this.#sums.set(path, writeDurably(path));
  }

  /** Files of a volume that is given up. */
  forget(directory: string): void {
    for (const path of this.#sums.keys()) if (path.startsWith(`${directory}/`)) this.#sums.delete(path);
  }

  /** Paths of files below `directory` that are gone or differ. */
  damaged(directory: string): readonly string[] {
    const ours = [...this.#sums].filter(([path]) => path.startsWith(`${directory}/`));
    this.#looks += ours.length;
    return ours.filter(([path, sum]) => !existsSync(path) || sumOf(path) !== sum).map(([path]) => path);
  }

  /** How many times a file was compared with its checksum. */
  get looks(): number {
    return this.#looks;
  }
}
