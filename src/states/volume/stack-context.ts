import type { ApplyContext } from "../state.ts";
import type { LayerKind } from "./layer.ts";
import type { VolumeSpec } from "./spec.ts";

/** What works on a whole volume: a state's context that knows the volume, and whose commands are told by layer. */
export interface StackContext extends ApplyContext {
  readonly volume: VolumeSpec;
  /** The same, its commands logged as this layer's. */
  at(layer: LayerKind): StackContext;
  /** See `ApplyContext`; of this volume when none is given. */
  assertKeyKept?(options: { readonly force: boolean }, volume?: VolumeSpec): Promise<void>;
  /** See `ApplyContext`; of this volume when none is given. */
  forgetKey?(volume?: VolumeSpec): Promise<string>;
  /** Says what is being done now. */
  progress?(current: string): void;
}

/** A state's context as one for a whole volume. */
export function stackContext(context: ApplyContext, volume: VolumeSpec, layer: LayerKind = "dependents"): StackContext {
  return {
    ...context,
    ...(context.assertKeyKept === undefined
      ? {}
      : { assertKeyKept: async (options) => context.assertKeyKept?.(options, volume) }),
    host: context.layerHost?.(volume.name, layer) ?? context.host,
    ...(context.forgetKey === undefined ? {} : { forgetKey: async () => context.forgetKey?.(volume) ?? "" }),
    volume,
    at: (other) => stackContext(context, volume, other),
  };
}

/** The same context with the volume as it was found to be (its disks under the names that they have now). */
export function withVolume(context: StackContext, volume: VolumeSpec): StackContext {
  return {
    ...context,
    ...(context.assertKeyKept === undefined
      ? {}
      : { assertKeyKept: async (options) => context.assertKeyKept?.(options, volume) }),
    volume,
    at: (layer) => withVolume(context.at(layer), volume),
  };
}

/** The same for work that nobody has to prove a key for again: it was proven a moment before, or just opened the volume. */
export function provenContext(context: StackContext): StackContext {
  const proven: StackContext = { ...context, at: (layer) => provenContext(context.at(layer)) };
  Reflect.deleteProperty(proven, "assertKeyKept");
  return proven;
}
