import { ConfigError, HostError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import { formatSize, formatSizes, parseSize } from "../../core/units.ts";
import { type ExistingVolume, findLogicalVolume, logicalVolumePath, setActive } from "../devices/logical-volume.ts";
import { seenOnVolume, seenVolume } from "../devices/seen-devices.ts";
import { absolutePath, lvmName } from "../devices/storage-params.ts";
import { waitFor } from "../devices/wait-for.ts";
import { type ApplyContext, type Change, type CheckContext, defineState } from "../state.ts";

const PERCENT = /^\d{1,3}%(?:FREE|VG|PVS)$/u;
const NODE_TIMEOUT_MS = 30_000;

const params = z
  .strictObject({
    name: lvmName.describe("The logical volume"),
    vgname: lvmName.optional().describe("Its volume group"),
    vg: lvmName.optional().describe("Another name for vgname"),
    size: z
      .union([z.number().int().positive(), z.string().min(1)])
      .optional()
      .describe("Bytes, a size such as 10G, or a share such as 100%FREE"),
    extents: z
      .union([z.number().int().positive(), z.string().regex(/^(?:\d+|\d{1,3}%(?:FREE|VG|PVS))$/u)])
      .optional()
      .describe("Number of extents or a share, in place of size"),
    any_size: z
      .boolean()
      .default(false)
      .describe("Take one that exists as it is, although it is larger than what is asked for"),
    pv: absolutePath.optional().describe("The physical volume to put it on; any when not given"),
  })
  .refine(({ vg, vgname }) => (vg === undefined) !== (vgname === undefined), "give vgname (or vg)")
  .refine(({ size, extents }) => (size === undefined) !== (extents === undefined), "give size or extents, one of them");
type Params = z.infer<typeof params>;

type Amount =
  | { readonly kind: "bytes"; readonly bytes: number }
  | { readonly kind: "extents"; readonly extents: string };

/** What size was asked for. Throws ConfigError `bad-size`. */
function readAmount({ size, extents }: Params): Amount {
  if (extents !== undefined) return { kind: "extents", extents: String(extents) };
  if (size === undefined) throw new ConfigError("bad-size", "cannot make a logical volume without a size");
  if (PERCENT.test(String(size))) return { kind: "extents", extents: String(size) };
  return { kind: "bytes", bytes: parseSize(size) };
}

const groupOf = ({ vg, vgname }: Params): string => vgname ?? vg ?? "";
const nodeOf = (wanted: Params): string => logicalVolumePath(groupOf(wanted), wanted.name);

function assertNotShrinking(wanted: Params, existing: ExistingVolume): void {
  const amount = readAmount(wanted);
  if (wanted.any_size || amount.kind !== "bytes" || existing.bytes <= amount.bytes) return;
  const extent = existing.extentBytes || 4 * 1024 * 1024;
  if (existing.bytes - amount.bytes < extent) return;
  const [has, asked] = formatSizes(existing.bytes, amount.bytes);
  throw new HostError(
    "cannot-shrink",
    `cannot make "${nodeOf(wanted)}" smaller: it has ${has}, ${asked} are asked for`,
    { hint: "shrinking destroys data; give the size that it has, or a larger one" },
  );
}

async function check(wanted: Params, { host }: CheckContext): Promise<readonly Change[]> {
  const amount = readAmount(wanted);
  const existing = await findLogicalVolume(host, groupOf(wanted), wanted.name);
  if (existing === undefined) {
    const to = amount.kind === "bytes" ? formatSize(amount.bytes) : amount.extents;
    return [{ field: "logical volume", from: null, to }];
  }
  assertNotShrinking(wanted, existing);
  return existing.active ? [] : seenOnVolume([{ field: "active", from: false, to: true }], existing.uuid);
}

async function create(wanted: Params, context: ApplyContext): Promise<void> {
  const amount = readAmount(wanted);
  const size = amount.kind === "bytes" ? ["--size", `${amount.bytes}b`] : ["--extents", amount.extents];
  const pv = wanted.pv === undefined ? [] : [wanted.pv];
  // Nothing is wiped: what an earlier volume left in this place is for whoever formats to find and refuse (I2).
  const keep = ["--wipesignatures", "n", "--zero", "n"];
  await context.host.run(
    ["lvcreate", "--quiet", `--name=${wanted.name}`, ...size, ...keep, "--", groupOf(wanted), ...pv],
    { signal: context.signal },
  );
}

async function activate(wanted: Params, { host, signal }: ApplyContext, seen: string | undefined): Promise<void> {
  const [group, name] = [groupOf(wanted), wanted.name];
  const uuid = seen ?? (await findLogicalVolume(host, group, name))?.uuid ?? "";
  await setActive(host, { group, name, uuid }, true, { signal });
}

/** `lvm.lv_present`: makes or activates; an existing volume that is smaller than asked for stays as it is. */
export const lvmLvPresent = defineState({
  kind: "resource",
  name: "lvm.lv_present",
  summary: "Makes a logical volume, or activates one that exists; never shrinks or grows it.",
  params,
  check,
  apply: async (wanted, context, changes) => {
    if (changes.some(({ field }) => field === "logical volume")) await create(wanted, context);
    else await activate(wanted, context, seenVolume(changes));
    const node = nodeOf(wanted);
    await waitFor(`"${node}"`, async () => (await context.host.stat(node)) !== undefined, {
      timeoutMs: NODE_TIMEOUT_MS,
      signal: context.signal,
    });
    context.reached("provision:lv");
  },
  settled: (wanted) => `logical volume ${groupOf(wanted)}/${wanted.name} is active; its size is left as it is`,
});
