import { join } from "node:path";
import type { Host } from "../../core/host.ts";

/** Whose file it is. */
export interface RawHeaderOwner {
  readonly host: Pick<Host, "makeDirectory" | "readRange" | "remove" | "writeFile">;
  readonly machine: { readonly config: { readonly stateDir: string } };
  readonly volume: { readonly name: string };
}

const directoryOf = ({ machine }: RawHeaderOwner) => join(machine.config.stateDir, "volumes");
const pathOf = (owner: RawHeaderOwner) => join(directoryOf(owner), `${owner.volume.name}.header-before-restore`);

/**
 * Keeps what is left of a header that does not read, before another is written over it: its keyslots may still be of use, for
 * as long as nothing has proven that the other one opens. Returns the file's path; undefined when the device does not read.
 */
export async function keepRawHeader(
  owner: RawHeaderOwner,
  device: string,
  length: number,
): Promise<string | undefined> {
  const bytes = await owner.host.readRange(device, 0, length);
  if (bytes === undefined) return undefined;
  await owner.host.makeDirectory(directoryOf(owner), 0o700);
  await owner.host.writeFile(pathOf(owner), bytes, { mode: 0o600 });
  return pathOf(owner);
}

/** Takes that file off the disk: a key opens the volume's header, or none may any more. Nothing happens when there is none. */
export async function dropRawHeader(owner: RawHeaderOwner): Promise<void> {
  await owner.host.remove(pathOf(owner));
}
