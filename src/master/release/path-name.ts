import { sha256 } from "../../core/crypto/hash.ts";

const MAX_KNOWN = 1000;
const known = new Map<string, string>();

/** How store keys name a pillar path, of whatever length and characters: the first 40 hex digits of its SHA-256. */
export function pathName(path: string): string {
  const name = known.get(path);
  if (name !== undefined) return name;
  const made = sha256(Buffer.from(path)).toString("hex").slice(0, 40);
  if (known.size >= MAX_KNOWN) known.clear();
  known.set(path, made);
  return made;
}
