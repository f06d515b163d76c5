import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import { placeInside, type VolumePlace } from "../../core/volume-nesting.ts";
import { resolveIfPossible } from "./identity.ts";
import { isMountedHere } from "./parts.ts";
import { readVolumesIfSound, targetOf } from "./spec.ts";
import type { StackContext } from "./stack-context.ts";

/** A path with the links in what is there of it followed. */
async function realPlace(host: Host, path: string): Promise<string> {
  const names = path.split("/").filter((name) => name !== "");
  for (let depth = names.length; depth > 0; depth -= 1) {
    const real = await host.realPath(`/${names.slice(0, depth).join("/")}`);
    if (real !== undefined) return [real, ...names.slice(depth)].join("/");
  }
  return path;
}

async function realPlaces(host: Host, { mount, loop }: VolumePlace): Promise<VolumePlace> {
  return {
    mount: mount && { point: await realPlace(host, mount.point) },
    loop: loop && { file: await realPlace(host, loop.file) },
  };
}

/**
 * Throws HostError `outer-not-mounted` when the volume's mount point or loop file lies inside of the mount point of another
 * volume that the pillar declares and that is not mounted: it would be made on the bare directory, and be covered by the
 * other one later (I9).
 */
export async function assertOuterMounted(context: StackContext): Promise<void> {
  const { host, pillar, volume, grains } = context;
  if (volume.mount === undefined && volume.loop === undefined) return;
  // a declared one comes of a pillar that was read whole
  const declared = readVolumesIfSound(pillar, (line) => context.note(line));
  const others = declared.filter(({ name, mount }) => name !== volume.name && mount !== undefined);
  if (others.length === 0) return;
  const own = await realPlaces(host, volume);
  for (const other of others) {
    const place = placeInside(volume, other) ?? placeInside(own, await realPlaces(host, other));
    if (place === undefined) continue;
    const resolved = await resolveIfPossible({ ...context, volume: other });
    if (await isMountedHere(context, resolved)) continue;
    const point = other.mount?.point ?? "";
    const finding = `"${place}" lies inside of "${point}", where volume "${other.name}" is not mounted`;
    throw new HostError("outer-not-mounted", `cannot bring up volume "${volume.name}": ${finding}`, {
      hint: `bring that up first: latchkey volume start ${targetOf(grains, other.name)}`,
      facts: { volume: volume.name, outer: other.name, finding },
    });
  }
}
