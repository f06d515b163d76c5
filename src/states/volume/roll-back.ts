import { errorMessage } from "../../core/errors.ts";
import type { Change } from "../state.ts";
import { stopDependents } from "./dependents.ts";
import { downParts } from "./down-parts.ts";
import type { Part } from "./parts.ts";
import { volumePlaces } from "./places.ts";
import { provenContext, type StackContext } from "./stack-context.ts";

/** Something that was begun on the way up. */
export type Undo =
  | { readonly kind: "part"; readonly part: Part; readonly changes: readonly Change[] }
  | { readonly kind: "dependent"; readonly name: string };

const ROLL_BACK_MS = 600_000;

/** The same context for work that has to be done although the run was ended. */
export function unaborted(context: StackContext, signal = AbortSignal.timeout(ROLL_BACK_MS)): StackContext {
  return { ...context, signal, at: (layer) => unaborted(context.at(layer), signal) };
}

/** Whether the changes are of the kind that taking down takes back: options of a mount are not. */
const isUndone = ({ title }: Part, changes: readonly Change[]): boolean =>
  title === "mount" ? changes.some(({ field }) => field === "mounted") : true;

async function takeBack(context: StackContext, undo: Undo): Promise<string | undefined> {
  if (undo.kind === "dependent") {
    await stopDependents(context.at("dependents"), [undo.name]);
    return `stopped ${undo.name}`;
  }
  const { part, changes } = undo;
  if (!isUndone(part, changes)) return undefined;
  const places = await volumePlaces(context.host, context.volume);
  const down = downParts(context.volume, places).find(({ title }) => title === part.title);
  if (down === undefined) return undefined;
  const at = context.at(down.layer);
  const found = await down.state.check(down.params, at);
  if (found.length === 0) return undefined;
  await down.state.apply(down.params, at, found);
  return `${down.done} ${down.subject}`;
}

/**
 * Takes back what was brought up, the last thing first, and notes what became of it; what was made (formats) stays. Never
 * throws: the failure that led here is the one that counts.
 */
export async function rollBack(context: StackContext, undos: readonly Undo[]): Promise<void> {
  const calm = unaborted(provenContext(context));
  const done: string[] = [];
  try {
    for (const undo of undos.toReversed()) {
      const line = await takeBack(calm, undo);
      if (line !== undefined) done.push(line);
    }
  } catch (error) {
    context.note(`the roll-back stopped: ${errorMessage(error)}`);
  }
  if (done.length > 0) context.note(`rolled back: ${done.join(", ")}`);
}
