import { HostError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import { findContents } from "../devices/blank.ts";
import {
  type BlockDevice,
  findMapping,
  isOnDevice,
  isSuspended,
  missingDevice,
  readBlockDevice,
  requireBlockDevice,
  wrongDevice,
} from "../devices/block-device.ts";
import { holding } from "../devices/held-device.ts";
import { assertNoMember } from "../devices/membership.ts";
import { assertFits } from "../devices/luks-fit.ts";
import { type LuksHeader, readLuksHeader } from "../devices/luks-header.ts";
import { seenDevices, seenOn } from "../devices/seen-devices.ts";
import { assertMapping } from "../devices/open-mapping.ts";
import { assertSafeHeader } from "../devices/luks-layout.ts";
import { isReencrypting } from "../devices/luks-reencryption.ts";
import { absolutePath, mappingName, secretRef } from "../devices/storage-params.ts";
import { waitFor } from "../devices/wait-for.ts";
import { type ApplyContext, type CheckContext, defineState } from "../state.ts";

const NODE_TIMEOUT_MS = 30_000;
/** cryptsetup(8), exit codes. */
const WRONG_KEY = 2;
const BUSY = 5;

const params = z.strictObject({
  name: mappingName.describe("The mapping: the open volume is /dev/mapper/<name>"),
  device: absolutePath.describe("The LUKS device, such as /dev/vg0/data"),
  key: secretRef.describe("The key, as a reference that the pillar gives: secret:<pillar path>"),
  allow_discards: z
    .boolean()
    .default(false)
    .describe("Hand discards down to the disk, which shows a thief how much of it is used"),
});
type Params = z.infer<typeof params>;

/** Whether the mapping is there and is this device's. Throws HostError when the name is another device's. */
async function isOpen({ host }: CheckContext, { name }: Params, device: BlockDevice): Promise<boolean> {
  const mapping = await findMapping(host, name);
  if (mapping === undefined) return false;
  if (mapping.uuid.startsWith("CRYPT-LUKS") && (await isOnDevice(host, mapping.kernelName, device))) {
    if (!(await isSuspended(host, mapping.kernelName))) return true;
    throw new HostError("volume-locked", `cannot use "${name}": it is suspended, and its key is out of the kernel`, {
      hint: "latchkey volume unlock gives it its key again",
      facts: { name },
    });
  }
  throw new HostError("mapping-taken", `cannot open "${device.path}" as "${name}": the name is another device's`, {
    facts: { name, uuid: mapping.uuid },
  });
}

async function readHeader({ host }: CheckContext, device: BlockDevice): Promise<LuksHeader> {
  const luks = await readLuksHeader(host, device.path);
  if (luks.kind === "valid") {
    await assertNoMember(host, device, "open");
    assertSafeHeader(luks.header, device.path);
    assertFits(luks.header, device);
    return luks.header;
  }
  if (luks.kind === "damaged") {
    throw wrongDevice(`cannot open "${device.path}": its LUKS header is damaged`, device.path, "damaged LUKS header");
  }
  const finding = await findContents(host, device);
  if (finding === undefined)
    throw missingDevice(`cannot open "${device.path}": it has no LUKS header yet`, device.path);
  throw wrongDevice(`cannot open "${device.path}": it ${finding}, and is not LUKS`, device.path, finding);
}

/** Takes back what was opened otherwise than the header says, before anything can use it. */
async function assertOpenedRight(
  { name, allow_discards: discards }: Params,
  context: ApplyContext,
  device: BlockDevice,
  header: LuksHeader,
): Promise<void> {
  try {
    await assertMapping(context, name, device, header, { discards, since: "just-opened" });
  } catch (thrown) {
    await context.host.run(["cryptsetup", "close", "--", name]);
    throw thrown;
  }
}

async function open(wanted: Params, context: ApplyContext, device: BlockDevice, header: LuksHeader): Promise<void> {
  const { name, key, allow_discards: discards } = wanted;
  const luksUuid = header.uuid;
  await context.lease(key, "open", { device: device.path, luksUuid }, async ({ secret }) => {
    const options = ["--type", "luks2", "--key-file=-", "--keyfile-size", String(secret.length)];
    if (discards) options.push("--allow-discards");
    const { exitCode, stderr } = await context.host.run(["cryptsetup", "open", ...options, "--", device.path, name], {
      stdin: secret,
      okCodes: [0, WRONG_KEY, BUSY],
      signal: context.signal,
    });
    if (exitCode === WRONG_KEY) {
      throw new HostError(
        "wrong-key",
        `cannot open "${device.path}": the key ${key} does not open it; nothing was changed`,
        {
          hint: "it was formatted with another key, or is not the disk you think it is",
          facts: { device: device.path, luksUuid },
        },
      );
    }
    if (exitCode === BUSY) {
      // somebody else may have opened it at the same moment
      const now = await readBlockDevice(context.host, device.path);
      if (now === undefined || !(await isOpen(context, wanted, now))) {
        throw new HostError("device-busy", `cannot open "${device.path}": ${stderr.trim() || "it is in use"}`);
      }
      await assertMapping(context, name, now, header, { discards, since: "open-before" });
      return;
    }
    // opening puts a piece right that a re-encryption was cut off in
    const isUnderWay = isReencrypting(header.metadata);
    await assertOpenedRight(wanted, context, device, isUnderWay ? await readHeader(context, device) : header);
  });
}

/** `luks.opened`: leases the key at the moment of use, hands it to cryptsetup through a pipe (I5). */
export const luksOpened = defineState({
  kind: "resource",
  name: "luks.opened",
  summary: "Opens a LUKS device with a leased key; a key that does not fit is an error and nothing else.",
  params,
  check: async (wanted, context) => {
    const device = await requireBlockDevice(context.host, wanted.device);
    if (await isOpen(context, wanted, device)) return [];
    const { uuid } = await readHeader(context, device);
    const other = device.holders[0];
    if (other !== undefined) {
      throw wrongDevice(`cannot open "${device.path}": it is in use by ${other}`, device.path, `in use by ${other}`);
    }
    return seenOn([{ field: "open", from: null, to: `/dev/mapper/${wanted.name} (uuid ${uuid})` }], device);
  },
  apply: async (wanted, context, changes) => {
    const openHeld = async (held: ApplyContext): Promise<void> => {
      const device = await requireBlockDevice(held.host, wanted.device);
      await open(wanted, held, device, await readHeader(held, device));
    };
    await holding(context, wanted.device, openHeld, seenDevices(changes).get(wanted.device));
    const node = `/dev/mapper/${wanted.name}`;
    await waitFor(`"${node}"`, async () => (await context.host.stat(node)) !== undefined, {
      timeoutMs: NODE_TIMEOUT_MS,
      signal: context.signal,
    });
    context.reached("provision:opened");
  },
  settled: ({ name, device }) => `${device} is open as /dev/mapper/${name}`,
});
