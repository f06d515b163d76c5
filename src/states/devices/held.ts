import type { FileStat, HoldOptions, Host } from "../../core/host.ts";
import { z } from "../../core/schema.ts";

/** The parameter of every state that writes at a path. */
export const unsafePathParam = z
  .boolean()
  .default(false)
  .describe(
    "Also where another user can change what the path leads to, such as a home; links there are never followed",
  );

/** What a path led to at one moment. */
export interface Seen {
  /** Where it was, links resolved. */
  readonly path: string;
  readonly found: FileStat | undefined;
  /** Why others can change what the path leads to; "" when nobody else can. */
  readonly unsafe: string;
}

/** Walks to a path as `Host.holdPath` does and lets go of it at once: a mount that is held is busy. */
export async function lookAt(host: Host, path: string, options: HoldOptions): Promise<Seen | undefined> {
  using held = await host.holdPath(path, { followLast: true, ...options });
  return held && { path: held.path, found: held.found, unsafe: held.unsafe };
}
