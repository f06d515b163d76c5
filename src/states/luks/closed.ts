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
import { absolutePath, mappingName } from "../devices/storage-params.ts";
import { waitFor } from "../devices/wait-for.ts";
import { type Change, type CheckContext, defineState } from "../state.ts";

const GONE_TIMEOUT_MS = 30_000;

const params = z.strictObject({
  name: mappingName.describe("The mapping: the open volume is /dev/mapper/<name>"),
  device: absolutePath.optional().describe("The LUKS device; a mapping of that name on another device is refused"),
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
  return [{ field: "open", from: path, to: null }];
}

/** `luks.closed`: takes the key out of the kernel. A mapping that something uses is an error that says by what. */
export const luksClosed = defineState({
  kind: "resource",
  name: "luks.closed",
  summary: "Closes an open LUKS device; its key leaves the kernel.",
  params,
  check,
  apply: async ({ name }, { host, signal }) => {
    await host.run(["cryptsetup", "close", "--", name], { signal });
    const isGone = async () => (await findMapping(host, name)) === undefined;
    await waitFor(`the end of "/dev/mapper/${name}"`, isGone, { timeoutMs: GONE_TIMEOUT_MS, signal });
  },
  settled: ({ name }) => `/dev/mapper/${name} is closed`,
});
