import { BugError } from "../../core/errors.ts";
import type { Change } from "./store.ts";

const KEY = /^[\u0021-\u007e]{1,500}$/u;
const MAX_VALUE_BYTES = 16 * 1024 * 1024;

/** Throws BugError `bad-store-key` unless every engine can keep these changes. */
export function assertChanges(changes: readonly Change[]): void {
  const seen = new Set<string>();
  for (const change of changes) {
    assertKey(change.key);
    if (seen.has(change.key)) {
      throw new BugError("bad-store-key", `cannot write store key "${change.key}" twice in one write`);
    }
    seen.add(change.key);
    if (change.op === "put" && change.value.length > MAX_VALUE_BYTES) {
      throw new BugError("store-value-too-large", `cannot store ${change.value.length} bytes at "${change.key}"`);
    }
  }
}

/** Throws BugError `bad-store-key` unless the key is printable ASCII, 1 to 500 characters. */
export function assertKey(key: string): string {
  if (!KEY.test(key)) throw new BugError("bad-store-key", `cannot use store key ${JSON.stringify(key.slice(0, 80))}`);
  return key;
}

/** The first key after every key that starts with `prefix` ("" has none: all keys match). */
export function prefixEnd(prefix: string): string {
  return prefix === ""
    ? "\u007f"
    : `${prefix.slice(0, -1)}${String.fromCodePoint((prefix.codePointAt(prefix.length - 1) ?? 0) + 1)}`;
}
