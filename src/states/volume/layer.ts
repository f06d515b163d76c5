/** The layers of a volume from the bottom up, and what depends on it. */
export const LAYERS = ["loop", "disk", "pv", "vg", "lv", "luks", "fs", "mount", "dependents"] as const;
export type LayerKind = (typeof LAYERS)[number];

const STATES: Readonly<Record<string, LayerKind>> = { fs: "fs", loop: "loop", luks: "luks", mount: "mount" };

/** The layer that a single state of storage is about (`luks.opened`: LUKS); undefined for any other state. */
export function layerOfState(name: string): LayerKind | undefined {
  const [module = "", fun = ""] = name.split(".");
  return module === "lvm" ? (["pv", "vg", "lv"] as const).find((layer) => fun.startsWith(`${layer}_`)) : STATES[module];
}
