import { whyShared } from "../core/own-directory.ts";
import type { MasterConfig } from "./config.ts";

/**
 * What to tell of pillar and state trees in which others than root, the master and its group can change files: they decide what
 * runs on every host. A line a tree; no error, since a tree is often somebody's checkout.
 */
export function sharedTrees({
  pillar_roots,
  file_roots,
}: Pick<MasterConfig, "file_roots" | "pillar_roots">): readonly string[] {
  const named = [
    ...pillar_roots.base.map((root) => ["pillar_roots", root] as const),
    ...file_roots.base.map((root) => ["file_roots", root] as const),
  ];
  return named.flatMap(([setting, root]) => {
    const why = whyShared(root);
    return why === "" ? [] : [`others can change what ${setting} "${root}" says to hosts: ${why}`];
  });
}
