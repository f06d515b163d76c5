import { ConfigError } from "../../core/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";
import { isSafeCipher, SAFE_CIPHER_HINT } from "../../core/luks-cipher.ts";
import { z } from "../../core/schema.ts";
import { unsafePathParam } from "../devices/held.ts";
import { absolutePath, lvmName, mappingName, secretRef } from "../devices/storage-params.ts";
import { unitName } from "../service/unit.ts";

const size = z.union([z.number().int().positive(), z.string().min(1)]);
const word = z.string().regex(/^[A-Za-z0-9_.][A-Za-z0-9_.-]*$/u, "letters, digits and _ . - only");
const pathOrPaths = z.union([absolutePath, z.array(absolutePath).min(1)]);

/** Name of a volume: what operators type after the slash. */
export const VOLUME_NAME = /^[a-z0-9][a-z0-9_.-]{0,62}$/u;

/** The layers of a volume, as the pillar's `volumes:` and the volume states take them. */
export const volumeSchema = z.strictObject({
  loop: z
    .strictObject({
      file: absolutePath.describe("The file behind the volume"),
      size: size.optional().describe("Its size when it has to be made; a bigger one later grows it"),
      sparse: z.boolean().default(false).describe("Make the file without reserving its space"),
    })
    .optional()
    .describe("A loop device on a file, in place of disk"),
  disk: pathOrPaths.optional().describe("The disk or disks below, raw or multipath; names below /dev/disk are best"),
  lvm: z
    .strictObject({
      vg: lvmName.describe("The volume group"),
      lv: lvmName.optional().describe("The logical volume; as the volume when not given"),
      size: size.default("100%FREE").describe("Bytes, a size such as 10G, or a share such as 100%FREE"),
    })
    .optional()
    .describe("A logical volume on the disks (or the loop device)"),
  luks: z
    .strictObject({
      key: secretRef.describe("Its key: !generate or !secret in the host's pillar"),
      name: mappingName.optional().describe("The mapping below /dev/mapper; as the volume when not given"),
      label: word.optional(),
      cipher: word.refine(isSafeCipher, `no cipher that is known to encrypt: ${SAFE_CIPHER_HINT}`).optional(),
      allow_discards: z.boolean().default(false),
      keyslots_size: size.default("1M").describe("Room for keyslots when formatted: 1M holds four"),
    })
    .optional()
    .describe("Encryption"),
  fs: z
    .strictObject({
      type: z.enum(["ext4", "xfs", "btrfs"]),
      label: word.optional(),
    })
    .optional()
    .describe("The file system"),
  mount: z
    .strictObject({
      point: absolutePath.describe("The mount point; made when missing"),
      options: z.array(z.string().regex(/^[^,\s\0]+$/u)).default([]),
      user: word.optional().describe("Owner of the mounted directory"),
      group: word.optional(),
      mode: z
        .string()
        .regex(/^0?[0-7]{3,4}$/u)
        .optional(),
      allow_unsafe_path: unsafePathParam,
    })
    .optional()
    .describe("Where it is mounted"),
  dependents: z
    .array(unitName)
    .default([])
    .describe("Services that run only while it is mounted: started in this order, stopped in the reverse one"),
  check: z.boolean().default(true).describe("Test key and header by and by, and tell the master what drifted"),
});

/** A declared volume: the stack from the bottom up, and what depends on it. */
export interface VolumeSpec extends Omit<z.infer<typeof volumeSchema>, "disk"> {
  readonly name: string;
  /** The disks below; empty for one on a file. */
  readonly disks: readonly string[];
}

/** One volume, declared `of the pillar` or given otherwise (""). Throws ConfigError `bad-volume` naming the volume and the field. */
export function parseVolume(name: string, value: Json, where = " of the pillar"): VolumeSpec {
  const bad = (why: string) => new ConfigError("bad-volume", `cannot use volume "${name}"${where}: ${why}`);
  if (!VOLUME_NAME.test(name)) throw bad("a name is lower-case letters, digits and _ . -, at most 63");
  const parsed = volumeSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw bad(
      [issue?.path.join(":") ?? "", issue?.message ?? "not understood"].filter((part) => part !== "").join(": "),
    );
  }
  const { disk, ...rest } = parsed.data;
  const disks = disk === undefined ? [] : typeof disk === "string" ? [disk] : disk;
  if ((rest.loop === undefined) === (disks.length === 0)) throw bad("give either loop or disk");
  if (disks.length > 1 && rest.lvm === undefined) throw bad("several disks need lvm");
  if (rest.mount !== undefined && rest.fs === undefined) throw bad("a mount needs fs");
  if (rest.dependents.length > 0 && rest.mount === undefined) throw bad("dependents need a mount");
  return { ...rest, name, disks };
}

/**
 * The volumes that a compiled pillar declares under `volumes:`, in the order of the pillar. Throws ConfigError
 * `bad-volume` naming the volume and the field; `shared-key`, `shared-device` when two of them would share a key or a place.
 */
export function readVolumes(pillar: Readonly<Record<string, Json>>): readonly VolumeSpec[] {
  const section = pillar["volumes"];
  if (section === undefined || section === null) return [];
  if (!isJsonObject(section)) throw new ConfigError("bad-volume", "cannot use the pillar's volumes: it is no mapping");
  const volumes = Object.entries(section).map(([name, value]) => parseVolume(name, value));
  assertApart(volumes);
  return volumes;
}

/** The same as far as it can be told, for work on a stack that the pillar need not have; `note` hears why it cannot be. */
export function readVolumesIfSound(
  pillar: Readonly<Record<string, Json>>,
  note: (line: string) => void,
): readonly VolumeSpec[] {
  try {
    return readVolumes(pillar);
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    note(`the volumes of the pillar are left out: ${thrown.message}`);
    return [];
  }
}

function assertApart(volumes: readonly VolumeSpec[]): void {
  const taken = new Map<string, string>();
  for (const volume of volumes) {
    const { name, luks, loop, lvm, mount } = volume;
    const places = [
      ["shared-key", luks?.key],
      ["shared-device", loop && `file ${loop.file}`],
      ["shared-device", lvm && `logical volume ${lvm.vg}/${lvm.lv ?? name}`],
      ["shared-device", luks && `mapping ${luks.name ?? name}`],
      ["shared-device", mount && `mount point ${mount.point}`],
      ...(lvm === undefined ? volume.disks.map((disk) => ["shared-device", `disk ${disk}`] as const) : []),
    ] as const;
    for (const [code, place] of places) {
      if (place === undefined) continue;
      const other = taken.get(place);
      if (other !== undefined) {
        throw new ConfigError(code, `cannot use volumes "${other}" and "${name}" of the pillar: both use ${place}`, {
          hint: "give each volume its own",
        });
      }
      taken.set(place, name);
    }
  }
}

/**
 * The volume that a state's parameters mean: the whole stack when they say loop or disk, else the one of that name in the
 * pillar. Throws ConfigError as `readVolumes` does, and `no-volume` with what the pillar has.
 */
export function volumeOf(
  pillar: Readonly<Record<string, Json>>,
  params: { readonly name: string } & z.infer<typeof volumeSchema>,
): VolumeSpec {
  const { name } = params;
  // a state has parameters of its own beside the stack's
  const stack = Object.fromEntries(Object.entries(params).filter(([key]) => key in volumeSchema.shape));
  const isGiven = (["loop", "disk", "lvm", "luks", "fs", "mount"] as const).some(
    (layer) => params[layer] !== undefined,
  );
  if (isGiven) return parseVolume(name, plain(stack), "");
  const declared = readVolumes(pillar);
  const found = declared.find((volume) => volume.name === name);
  if (found !== undefined) return found;
  const names = declared.map((volume) => volume.name).join(", ");
  throw new ConfigError("no-volume", `cannot find volume "${name}" in the pillar's volumes`, {
    hint:
      names === "" ? "the pillar has no volumes: section; declare it there, or give the stack here" : `it has ${names}`,
  });
}

const plain = (value: object): Json => JSON.parse(JSON.stringify(value)) as Json;

/** The pillar path of a volume's key, such as `volumes:data:luks:key`; undefined for one that is not encrypted. */
export function keyPathOf({ luks }: VolumeSpec): string | undefined {
  return luks?.key.replace(/^secret:/u, "");
}

/** `<minion>/<volume>` as people type it: with the id of this machine where its grains have it. */
export const targetOf = ({ id }: JsonObject, volume: string): string =>
  `${typeof id === "string" ? id : "<minion>"}/${volume}`;
