import type { Host } from "../../core/host.ts";
import { findContents } from "./blank.ts";
import type { BlockDevice } from "./block-device.ts";
import { readLuksHeader } from "./luks-header.ts";
import { keyslotsOf } from "./luks-slots.ts";
import { readSuperblock } from "./superblock.ts";

/**
 * What would be lost with a device, as the end of a sentence: nothing when it is blank, LUKS whose keyslots are erased, or the
 * file system or LUKS header with the UUID that may be lost (I2).
 */
export async function findLoss(host: Host, device: BlockDevice, lose: string | undefined): Promise<string | undefined> {
  const luks = await readLuksHeader(host, device.path);
  if (luks.kind === "valid") {
    const { version, uuid } = luks.header;
    return uuid === lose || (version === 2 && keyslotsOf(luks.header).length === 0)
      ? undefined
      : findContents(host, device);
  }
  const uuid = luks.kind === "none" ? (await readSuperblock(host, device.path))?.uuid : undefined;
  return uuid !== undefined && uuid === lose ? undefined : findContents(host, device);
}
