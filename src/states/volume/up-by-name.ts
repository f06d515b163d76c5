import { HostError } from "../../core/errors.ts";
import type { CheckContext } from "../state.ts";
import type { DownPart } from "./down-parts.ts";

/**
 * Whether a layer is up, as far as the state that takes it down can tell: with `inUse` the layer above it is still up, and
 * being in use is then no failure but the proof.
 */
export async function isUpByName(context: CheckContext, part: DownPart, inUse: boolean): Promise<boolean> {
  try {
    return (await part.state.check(part.params, context)).length > 0;
  } catch (thrown) {
    if (inUse && thrown instanceof HostError && thrown.code === "device-busy") return true;
    throw thrown;
  }
}
