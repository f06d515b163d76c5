import type { FileStat, HeldPath, Host, WriteOptions } from "../../core/host.ts";
import { z } from "../../core/schema.ts";
import type { Change } from "../state.ts";
import { findGroupId, findUserId } from "./accounts.ts";

/** Permission bits as people write them: `"0644"`, or the number 644 that YAML makes of it; four octal digits. */
export const modeParam = z
  .union([z.string().regex(/^[0-7]{3,4}$/u, "must be three or four octal digits"), z.number().int().min(0).max(7777)])
  .refine((mode) => /^[0-7]{1,4}$/u.test(String(mode)), "must be octal digits");

/** A user or group, by name or number. */
export const accountParam = z.union([z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.$-]*$/u), z.number().int().min(0)]);

/** Who should own a file, and what may be done with it; undefined leaves as is. */
export interface Ownership {
  readonly mode: number | undefined;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

/** Ownership as parameters give it. Throws ConfigError for a user or group that does not exist. */
export async function readOwnership(
  host: Host,
  wanted: {
    readonly mode?: string | number | undefined;
    readonly user?: string | number | undefined;
    readonly group?: string | number | undefined;
  },
): Promise<Ownership> {
  const { mode, user, group } = wanted;
  return {
    mode: mode === undefined ? undefined : Number.parseInt(String(mode), 8),
    uid: user === undefined ? undefined : await findUserId(host, String(user)),
    gid: group === undefined ? undefined : await findGroupId(host, String(group)),
  };
}

const octal = (mode: number): string => mode.toString(8).padStart(4, "0");

/** What differs from the wanted ownership. */
export function compareOwnership(stat: FileStat, { mode, uid, gid }: Ownership): readonly Change[] {
  const changes: Change[] = [];
  if (uid !== undefined && uid !== stat.uid) changes.push({ field: "user", from: stat.uid, to: uid });
  if (gid !== undefined && gid !== stat.gid) changes.push({ field: "group", from: stat.gid, to: gid });
  if (mode !== undefined && mode !== stat.mode)
    changes.push({ field: "mode", from: octal(stat.mode), to: octal(mode) });
  return changes;
}

/** Puts owner and mode right on what is held; nothing when there is nothing. */
export async function applyOwnership(held: HeldPath, ownership: Ownership): Promise<void> {
  if (held.found !== undefined && compareOwnership(held.found, ownership).length > 0)
    await held.setOwnership(ownership);
}

/** What a file or directory is made with. */
export function ownershipOfNew({ mode, uid, gid }: Ownership, defaultMode: number): WriteOptions {
  return { mode: mode ?? defaultMode, ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) };
}
