import type { ApplyContext, CheckContext } from "../state.ts";
import type { BlockDevice } from "./block-device.ts";

/** Journal key of a LUKS header that this machine made, until there is something in its mapping. */
export const freshMapping = (luksUuid: string): string => `luks-fresh:${luksUuid}`;

/** `CRYPT-LUKS2-<uuid without dashes>-<name>`, as cryptsetup names its mappings. */
const MAPPING_UUID = /^CRYPT-LUKS2-([0-9a-f]{32})-/u;

/** The UUID of the LUKS2 header that a mapping was made from; undefined for any other device. */
export function luksUuidOfMapping({ mapping }: Pick<BlockDevice, "mapping">): string | undefined {
  const hex = MAPPING_UUID.exec(mapping?.uuid ?? "")?.[1];
  return hex?.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/u, "$1-$2-$3-$4-$5");
}

/**
 * What speaks against taking the mapping of an encrypted device for blank although there is no signature in it, as the end of a
 * sentence: a header that was changed shows what is encrypted as noise. Only one that this machine made, and in which nothing was
 * made since, is blank. Undefined for that, and for devices that are no such mapping.
 */
export async function findUnreadable(
  context: Pick<CheckContext, "pending">,
  device: Pick<BlockDevice, "mapping">,
): Promise<string | undefined> {
  if (device.mapping?.uuid.startsWith("CRYPT-") !== true) return undefined;
  const luksUuid = luksUuidOfMapping(device);
  const isFresh = luksUuid !== undefined && (await context.pending(freshMapping(luksUuid))) !== undefined;
  if (isFresh) return undefined;
  return "is the mapping of an encrypted device that this machine has not just made: what reads as nothing may be data under another key or cipher";
}

/** Something is in the mapping now: from here on only what is read in it counts. Nothing is written for other devices. */
export async function notFreshAnyMore(
  context: Pick<ApplyContext, "commit" | "pending">,
  device: Pick<BlockDevice, "mapping">,
): Promise<void> {
  const luksUuid = luksUuidOfMapping(device);
  if (luksUuid === undefined || (await context.pending(freshMapping(luksUuid))) === undefined) return;
  await context.commit(freshMapping(luksUuid));
}
