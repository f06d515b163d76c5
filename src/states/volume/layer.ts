/** The layers of a volume from the bottom up, and what depends on it. */
export const LAYERS = ["loop", "disk", "pv", "vg", "lv", "luks", "fs", "mount", "dependents"] as const;
export type LayerKind = (typeof LAYERS)[number];
