import { HostError } from "../../core/errors.ts";
import type { Mount } from "../devices/mount-table.ts";

/** The error of a mount that a later one, on a directory above it, has taken from sight. */
export function mountCovered(point: string, mount: Mount, cover: Mount): HostError {
  const finding = `is covered by ${cover.source} on "${cover.mountPoint}"`;
  return new HostError("mount-covered", `cannot use the mount of ${mount.source} on "${point}": it ${finding}`, {
    hint: `unmount "${cover.mountPoint}" first; what is mounted inside comes up last, and goes down first`,
    facts: { path: point, finding },
  });
}
