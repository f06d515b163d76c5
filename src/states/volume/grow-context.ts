import { HostError } from "../../core/errors.ts";
import type { VolumeStep } from "../../core/volume-steps.ts";
import { formatSizes } from "../../core/units.ts";
import type { ApplyContext, CheckContext } from "../state.ts";
import type { LayerKind } from "./layer.ts";
import type { VolumeSpec } from "./spec.ts";

/** What looks at a volume's sizes. */
export interface GrowthView extends CheckContext {
  readonly volume: VolumeSpec;
}

/** What makes a volume larger. */
export interface GrowthContext extends ApplyContext {
  readonly volume: VolumeSpec;
  at(layer: LayerKind): GrowthContext;
}

/** One thing that is smaller than it could be by what is below it, or should be by the pillar. */
export interface Growth {
  /** In words: `loop file /srv/data.img`. */
  readonly what: string;
  readonly from: number;
  readonly to: number;
  readonly grow: (context: GrowthContext) => Promise<void>;
}

/** One layer of a volume: what of it has to grow, from what can be read now. */
export interface GrowthLayer {
  readonly layer: LayerKind;
  readonly step: VolumeStep;
  readonly find: (view: GrowthView) => Promise<readonly Growth[]>;
}

/** The refusal of a smaller size. */
export function cannotShrink(what: string, has: number, wanted: number): HostError {
  const [had, asked] = formatSizes(has, wanted);
  const sizes = `it has ${had}, ${asked} are asked for`;
  return new HostError("cannot-shrink", `cannot make ${what} smaller: ${sizes}; nothing was changed`, {
    hint: "shrinking destroys data; give the size that it has, or a larger one",
  });
}

/** What is below is smaller than what lies on it: its end is gone. */
export function tooSmall(what: string, needs: number, below: number): HostError {
  const [needed, has] = formatSizes(needs, below);
  const sizes = `it needs ${needed}, the device below has ${has}`;
  return new HostError("device-shrunk", `cannot grow ${what}: ${sizes}; nothing was changed`, {
    hint: "the device below became smaller: its end, with data on it, is missing; make it as large as before",
  });
}
