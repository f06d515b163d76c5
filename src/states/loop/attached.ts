import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import { z } from "../../core/schema.ts";
import { formatSize, parseSize } from "../../core/units.ts";
import { readBlockDevice } from "../devices/block-device.ts";
import { lookAt } from "../devices/held.ts";
import { findLoop } from "../devices/loop-device.ts";
import { absolutePath } from "../devices/storage-params.ts";
import { type ApplyContext, type Change, type CheckContext, defineState } from "../state.ts";

const FILE_MODE = 0o600;

const params = z.strictObject({
  name: absolutePath.describe("The file behind the loop device"),
  size: z
    .union([z.number().int().positive(), z.string().min(1)])
    .optional()
    .describe("Size of the file when it has to be made, such as 512M"),
  sparse: z.boolean().default(false).describe("Make the file without reserving its space"),
  device: z
    .string()
    .regex(/^\/dev\/loop\d{1,4}$/u, "must be a loop device, such as /dev/loop7")
    .optional()
    .describe("The loop device to use; any free one when not given"),
});
type Params = z.infer<typeof params>;

async function check(wanted: Params, context: CheckContext): Promise<readonly Change[]> {
  const { host } = context;
  // never where another user could put their own file in its place
  const seen = await lookAt(host, wanted.name, {});
  const file = seen?.found;
  const changes: Change[] = [];
  const size = wanted.size === undefined ? undefined : parseSize(wanted.size);
  if (file === undefined) {
    if (size === undefined) {
      throw new HostError("device-missing", `cannot attach "${wanted.name}": there is no such file`, {
        hint: "give a size to have it made",
      });
    }
    if (seen === undefined) {
      throw new HostError("device-missing", `cannot make "${wanted.name}": its directory does not exist`);
    }
    changes.push({ field: "file", from: null, to: formatSize(size) });
  } else if (file.kind !== "file") {
    throw new HostError("wrong-device", `cannot attach "${wanted.name}": it is a ${file.kind}, not a file`);
  } else if (
    size !== undefined &&
    file.size < size &&
    (await context.pending(`loop-file:${wanted.name}`)) !== undefined
  ) {
    changes.push({ field: "file", from: formatSize(file.size), to: formatSize(size) });
  }
  const attached = await findLoop(host, wanted.name);
  if (attached === undefined) await assertFree(host, wanted);
  else if (wanted.device !== undefined && attached !== wanted.device) {
    throw new HostError("wrong-device", `cannot attach "${wanted.name}" to ${wanted.device}: it is on ${attached}`);
  }
  if (attached === undefined) changes.push({ field: "device", from: null, to: wanted.device ?? "a free loop device" });
  return changes;
}

async function assertFree(host: Host, { name, device }: Params): Promise<void> {
  if (device === undefined) return;
  const present = await readBlockDevice(host, device);
  if (present?.backingFile === undefined) return;
  throw new HostError("wrong-device", `cannot attach "${name}" to ${device}: it has ${present.backingFile} behind it`);
}

/** Makes the file, or goes on making one that was cut short; neither tool ever shortens a file. */
async function makeFile({ name, size = 0, sparse }: Params, context: ApplyContext): Promise<void> {
  const { host, signal } = context;
  const bytes = parseSize(size);
  const key = `loop-file:${name}`;
  const isNew = (await host.stat(name)) === undefined;
  await context.begin(key, { bytes });
  if (isNew) await host.writeFile(name, Buffer.alloc(0), { mode: FILE_MODE });
  try {
    await host.run(
      sparse ? ["truncate", `--size=>${bytes}`, "--", name] : ["fallocate", "--length", String(bytes), "--", name],
      { signal },
    );
  } catch (error) {
    // a disk that is full stays as full as it was
    if (isNew) await host.remove(name);
    throw error;
  }
  await context.commit(key);
}

/** `loop.attached` */
export const loopAttached = defineState({
  kind: "resource",
  name: "loop.attached",
  summary: "Attaches a file to a loop device, and makes the file first when a size is given.",
  params,
  check,
  apply: async (wanted, context, changes) => {
    if (changes.some(({ field }) => field === "file")) {
      await makeFile(wanted, context);
      context.reached("provision:loop-file");
    }
    if (!changes.some(({ field }) => field === "device")) return;
    const target = wanted.device === undefined ? ["--find"] : [wanted.device];
    await context.host.run(
      ["losetup", "--nooverlap", ...(wanted.device === undefined ? target : ["--", ...target]), wanted.name],
      {
        signal: context.signal,
      },
    );
    context.reached("provision:loop");
  },
  settled: ({ name }) => `${name} is attached`,
});
