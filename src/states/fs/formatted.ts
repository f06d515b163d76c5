import { randomUUID } from "node:crypto";
import { isJsonObject } from "../../core/json.ts";
import { z } from "../../core/schema.ts";
import { assertBlank, findUse, refusal } from "../devices/blank.ts";
import { type BlockDevice, requireBlockDevice, wrongDevice } from "../devices/block-device.ts";
import { exclusively } from "../devices/exclusive.ts";
import { holding } from "../devices/held-device.ts";
import { seenDevices, seenOn } from "../devices/seen-devices.ts";
import { notFreshAnyMore } from "../devices/fresh-mapping.ts";
import { assertNoMember } from "../devices/membership.ts";
import { absolutePath } from "../devices/storage-params.ts";
import { readFreshSuperblock, readSuperblock, type Superblock } from "../devices/superblock.ts";
import { type ApplyContext, type CheckContext, defineState } from "../state.ts";
import { assertKnownLayer, readKnownVolume } from "../volume/identity.ts";

const MKFS_TIMEOUT_MS = 1_800_000;
const LABEL_MAX = { ext4: 16, xfs: 12, btrfs: 255 } as const;

const params = z
  .strictObject({
    name: absolutePath.describe("The device, such as /dev/mapper/data"),
    fstype: z.enum(["ext4", "xfs", "btrfs"]).describe("The file system"),
    label: z
      .string()
      .regex(/^[A-Za-z0-9_.][A-Za-z0-9_.-]*$/u)
      .optional()
      .describe("Label: up to 16 characters for ext4, 12 for xfs, 255 for btrfs"),
    volume: z
      .string()
      .regex(/^[a-z0-9][a-z0-9_.-]{0,62}$/u)
      .optional()
      .describe("Name of the volume that the device is of: one that had a file system never gets another"),
  })
  .refine(({ fstype, label = "" }) => label.length <= LABEL_MAX[fstype], "the label is too long");
type Params = z.infer<typeof params>;

type Finding = "blank" | "formatted" | "unfinished" | "uncommitted";

const journalKey = (device: BlockDevice): string => `mkfs:${device.identity}`;

/** What is on the device. Throws HostError `wrong-device` for anything but nothing, or the wanted file system (I2). */
async function look(wanted: Params, context: CheckContext, device: BlockDevice): Promise<Finding> {
  const superblock = await readSuperblock(context.host, device.path);
  await assertKnownLayer(context, wanted.volume, "file system", device.path, superblock?.uuid);
  if (superblock === undefined) {
    await assertBlank(context, device, "format");
    return "blank";
  }
  await assertNoMember(context.host, device, "use");
  const { fsType, uuid, label } = superblock;
  const note = await context.pending(journalKey(device));
  if (isJsonObject(note) && note["uuid"] === uuid)
    return (await provesUnused(context, device)) ? "unfinished" : "uncommitted";
  if (fsType !== wanted.fstype || !superblock.complete) {
    throw refusal(device, describe(superblock), `make ${wanted.fstype} on`);
  }
  // a label that somebody changed keeps no known volume down
  if (wanted.label !== undefined && wanted.label !== label && !(await isKnown(wanted, context, uuid))) {
    const finding = `is labelled "${label}"`;
    throw wrongDevice(`cannot use "${device.path}": it ${finding}, not "${wanted.label}"`, device.path, finding);
  }
  return "formatted";
}

/** Whether it is the file system that the volume came up with here before. */
async function isKnown({ volume }: Params, context: CheckContext, uuid: string): Promise<boolean> {
  return volume !== undefined && (await readKnownVolume(context, volume))?.fsUuid === uuid;
}

/** Nothing can be in a file system that was never mounted; in one that was, everything is kept. */
async function provesUnused({ host }: CheckContext, device: BlockDevice): Promise<boolean> {
  const superblock = await readFreshSuperblock(host, device.path);
  return superblock?.neverMounted === true && (await findUse(host, device)) === undefined;
}

function describe({ fsType, label, uuid, complete }: Superblock): string {
  const state = complete ? "has a file system" : "has an unfinished file system";
  return `${state}: ${fsType}${label ? ` labelled "${label}"` : ""} (uuid ${uuid})`;
}

/** mkfs.xfs and mkfs.btrfs by themselves refuse what has a signature; only our own half-made one is written over. */
function optionsFor(fstype: Params["fstype"], uuid: string, isOurs: boolean): readonly string[] {
  if (fstype === "ext4") return ["-q", "-U", uuid];
  const again = isOurs ? ["-f"] : [];
  return ["-q", ...again, ...(fstype === "xfs" ? ["-m", `uuid=${uuid}`] : ["-U", uuid])];
}

async function makeFileSystem(wanted: Params, context: ApplyContext, device: BlockDevice): Promise<void> {
  const finding = await look(wanted, context, device);
  if (finding === "formatted") return;
  const key = journalKey(device);
  if (finding !== "uncommitted") {
    const uuid = randomUUID({ disableEntropyCache: true });
    await context.begin(key, { uuid });
    context.reached("provision:fs-noted");
    const label = wanted.label === undefined ? [] : ["-L", wanted.label];
    const options = optionsFor(wanted.fstype, uuid, finding === "unfinished");
    await context.host.run([`mkfs.${wanted.fstype}`, ...options, ...label, "--", device.path], {
      timeoutMs: MKFS_TIMEOUT_MS,
      signal: context.signal,
    });
  } else context.note("an earlier format was complete");
  await context.commit(key);
  await notFreshAnyMore(context, device);
  context.reached("provision:fs-made");
}

/** `fs.formatted`: there is no force. */
export const fsFormatted = defineState({
  kind: "resource",
  name: "fs.formatted",
  summary: "Makes an ext4, xfs or btrfs file system on a blank device; never on anything else.",
  params,
  check: async (wanted, context) => {
    const device = await requireBlockDevice(context.host, wanted.name);
    const finding = await look(wanted, context, device);
    if (finding === "formatted") return [];
    const from = finding === "blank" ? null : "unfinished";
    return seenOn([{ field: "file system", from, to: wanted.fstype }], device);
  },
  apply: async (wanted, context, changes) => {
    const make = async (held: ApplyContext): Promise<void> => {
      const device = await requireBlockDevice(held.host, wanted.name);
      await exclusively(device.identity, () => makeFileSystem(wanted, held, device));
    };
    await holding(context, wanted.name, make, seenDevices(changes).get(wanted.name));
  },
  settled: ({ name, fstype }) => `${name} has an ${fstype} file system`,
});
