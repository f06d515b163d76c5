import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { scratchParent } from "./place.ts";

const PREFIX = "latchkey-lab-";

/** When a process started, in clock ticks since boot: with its id this names it for good; "" when there is none. */
function startOf(pid: number): string {
  const path = `/proc/${pid}/stat`;
  if (!existsSync(path)) return "";
  try {
    const text = readFileSync(path, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

/** A name that no other run uses, and from which a later run can tell that its owner is dead. */
export function ownedName(kind: string): string {
  const unique = Math.random().toString(36).slice(2, 8);
  return `${kind}${process.pid}-${startOf(process.pid)}-${unique}`;
}

/** Whether the name was made by `ownedName(kind)` in a process that is no more. */
export function isOrphan(kind: string, name: string): boolean {
  if (!name.startsWith(kind)) return false;
  const [pid = "", start = ""] = name.slice(kind.length).split("-");
  return /^\d+$/u.test(pid) && startOf(Number(pid)) !== start;
}

/**
 * A directory of this run's own, mode 0700, with what dead runs left beside it removed. The caller removes it; what a
 * killed run leaves the next one removes.
 */
export function makeScratch(): string {
  const parent = scratchParent();
  for (const name of readdirSync(parent)) {
    if (isOrphan(PREFIX, name)) rmSync(join(parent, name), { recursive: true, force: true });
  }
  const path = join(parent, ownedName(PREFIX));
  mkdirSync(path, { mode: 0o700 });
  return mkdtempSync(join(path, "run-"));
}
