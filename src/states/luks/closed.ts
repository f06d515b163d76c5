import { HostError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import { findUse } from "../devices/blank.ts";
import {
  busyDevice,
  describeKernelName,
  findMapping,
  isOnDevice,
  readBlockDevice,
  readSlaves,
} from "../devices/block-device.ts";
import { swappedDevice } from "../devices/held-device.ts";
import { seenOnVolume, seenVolume } from "../devices/seen-devices.ts";
import { absolutePath, mappingName, secretRef } from "../devices/storage-params.ts";
import { waitFor } from "../devices/wait-for.ts";
import { type ApplyContext, type Change, type CheckContext, defineState } from "../state.ts";
import { resolveIfPossible } from "../volume/identity.ts";
import { parseVolume, readVolumes, readVolumesIfSound, type VolumeSpec } from "../volume/spec.ts";

const GONE_TIMEOUT_MS = 30_000;

const params = z.strictObject({
  name: mappingName.describe("The mapping: the open volume is /dev/mapper/<name>"),
  device: absolutePath.optional().describe("The LUKS device; a mapping of that name on another device is refused"),
  key: secretRef
    .optional()
    .describe("Its key, as a reference that the pillar gives; not needed for a volume that the pillar declares"),
  force: z.boolean().default(false).describe("Close it although no stored key is proven to open it again"),
});
type Params = z.infer<typeof params>;

const taken = (name: string, whose: string) =>
  new HostError("mapping-taken", `cannot close "${name}": it is ${whose}`, { facts: { name } });

async function check({ name, device }: Params, { host }: CheckContext): Promise<readonly Change[]> {
  const mapping = await findMapping(host, name);
  if (mapping === undefined) return [];
  if (!mapping.uuid.startsWith("CRYPT-")) throw taken(name, "no encrypted volume");
  const below = device === undefined ? undefined : await readBlockDevice(host, device);
  if (below !== undefined && !(await isOnDevice(host, mapping.kernelName, below))) {
    const [slave] = await readSlaves(host, mapping.kernelName);
    throw taken(name, `open on ${slave === undefined ? "another device" : await describeKernelName(host, slave)}`);
  }
  const path = `/dev/mapper/${name}`;
  const open = await readBlockDevice(host, path);
  const use = open && (await findUse(host, open));
  if (use !== undefined) throw busyDevice(path, "close", use);
  return seenOnVolume([{ field: "open", from: path, to: null }], mapping.uuid);
}

/** The volume that the mapping is of: as the pillar declares it, else by the key that is given; undefined for neither. */
async function volumeBehind({ name, device, key }: Params, context: ApplyContext): Promise<VolumeSpec | undefined> {
  const isMeant = ({ luks, name: volume }: VolumeSpec) => luks !== undefined && (luks.name ?? volume) === name;
  const { pillar } = context;
  const all = key === undefined ? readVolumes(pillar) : readVolumesIfSound(pillar, (line) => context.note(line));
  const declared = all.find(isMeant);
  if (declared !== undefined) return resolveIfPossible({ ...context, volume: declared });
  if (key === undefined) return undefined;
  const mapping = await findMapping(context.host, name);
  const [slave = ""] = mapping === undefined ? [] : await readSlaves(context.host, mapping.kernelName);
  const disk = device ?? `/dev/${slave.replaceAll("!", "/")}`;
  // a mapping may have a name that no volume has
  return { ...parseVolume("mapping", { disk, luks: { key, name } }), name };
}

/** Throws HostError `key-not-kept` unless a stored key is proven to open it again, or that is not wanted. */
async function assertKept(wanted: Params, context: ApplyContext): Promise<void> {
  if (context.assertKeyKept === undefined) return;
  const volume = await volumeBehind(wanted, context);
  if (volume !== undefined) {
    await context.assertKeyKept({ force: wanted.force }, volume);
    return;
  }
  const why = `nothing says which stored key opens "${wanted.name}" again`;
  if (wanted.force) {
    context.note(`forced: ${why}`);
    return;
  }
  throw new HostError("key-not-kept", `cannot close "${wanted.name}": ${why}`, {
    hint: "give its key, or declare the volume in the pillar; force: true skips this safeguard",
    facts: { name: wanted.name },
  });
}

/**
 * `luks.closed`: takes the key out of the kernel. A mapping that something uses is an error that says by what, and one that no
 * stored key is proven to open again stays open.
 */
export const luksClosed = defineState({
  kind: "resource",
  name: "luks.closed",
  summary: "Closes an open LUKS device; its key leaves the kernel.",
  params,
  check,
  apply: async (wanted, context, changes) => {
    const { name } = wanted;
    const { host, signal } = context;
    await assertKept(wanted, context);
    const [seen, now] = [seenVolume(changes), (await findMapping(host, name))?.uuid];
    if (seen !== undefined && now !== undefined && now !== seen) {
      throw swappedDevice(`/dev/mapper/${name}`, `mapping ${seen}`, `mapping ${now}`, "it was not closed");
    }
    await host.run(["cryptsetup", "close", "--", name], { signal });
    const isGone = async () => (await findMapping(host, name)) === undefined;
    await waitFor(`the end of "/dev/mapper/${name}"`, isGone, { timeoutMs: GONE_TIMEOUT_MS, signal });
  },
  settled: ({ name }) => `/dev/mapper/${name} is closed`,
});
