import { errorMessage, HostError } from "../../core/errors.ts";
import type { Json } from "../../core/json.ts";
import { findMapping } from "../devices/block-device.ts";
import type { StackChanges } from "./bring-up.ts";
import { runningDependents, startDependents, stopDependents } from "./dependents.ts";
import { type DownPart, downParts } from "./down-parts.ts";
import { stopReencryption } from "../devices/luks-reencryption.ts";
import { resolveIfPossible } from "./identity.ts";
import { LAYERS, type LayerKind } from "./layer.ts";
import { isMountedHere, stackParts } from "./parts.ts";
import { volumePlaces } from "./places.ts";
import { unaborted } from "./roll-back.ts";
import { provenContext, type StackContext, withVolume } from "./stack-context.ts";
import { unmount } from "./unmount.ts";

/** How a volume is taken down. */
export interface TakeDownOptions {
  /** End processes that hold the mount: TERM, then KILL. */
  readonly killHolders: boolean;
  /** The last layer to take down; the lowest one when not given. `mount`: only stop dependents and unmount. */
  readonly upTo?: LayerKind;
  /** Leave down what is down already when a later step fails; else it is brought up again. */
  readonly leaveDown?: boolean;
  /** Skip the safeguard that a stored key must open the volume again. */
  readonly force?: boolean;
}

interface Downed {
  readonly dependents: string[];
  readonly parts: DownPart[];
}

/** Brings up again what was taken down, and notes what became of it. Never throws: the first failure counts. */
async function putBack(context: StackContext, { dependents, parts }: Downed): Promise<void> {
  const calm = unaborted(context);
  const { host, volume } = calm;
  const titles = new Set(parts.map(({ title }) => title));
  const done: string[] = [];
  try {
    for (const title of ["loop device", "logical volume", "mapping", "mount"].filter((name) => titles.has(name))) {
      const part = (await stackParts(host, volume)).find((candidate) => candidate.title === title);
      const at = part && calm.at(part.layer);
      const found = part && at ? await part.state.check(part.params, at) : [];
      if (part === undefined || at === undefined || found.length === 0) continue;
      if (found.some(({ field }) => part.makes.includes(field))) break;
      await part.state.apply(part.params, at, found);
      done.push(`${part.title} ${part.subject}`);
    }
    if (dependents.length > 0 && (await isMountedHere(calm, volume))) {
      const again = { ...calm.at("dependents"), volume: { ...volume, dependents } };
      await startDependents(again, {}, (name) => done.push(name));
    }
  } catch (error) {
    context.note(`bringing it up again stopped: ${errorMessage(error)}`);
  }
  if (done.length > 0) context.note(`brought up again: ${done.join(", ")}`);
}

async function down(
  context: StackContext,
  options: TakeDownOptions,
  changes: Record<string, Json>,
  downed: Downed,
): Promise<void> {
  const { host, volume } = context;
  const at = (layer: LayerKind) => context.at(layer);
  const running = await runningDependents(at("dependents"));
  // one at a time, so that a failure leaves a true account
  for (const name of running.toReversed()) {
    downed.dependents.unshift(name);
    await stopDependents(at("dependents"), [name], changes);
  }
  if (options.upTo === "dependents") return;
  for (const part of downParts(volume, await volumePlaces(host, volume))) {
    const isBelow = options.upTo !== undefined && LAYERS.indexOf(part.layer) < LAYERS.indexOf(options.upTo);
    if (isBelow) break;
    const found = await downOne(at(part.layer), part, options, downed);
    for (const { from } of found) changes[part.title] = { old: from, new: part.done };
  }
}

/** A device that is being re-encrypted cannot be closed: that stops, and can be gone on with whenever the volume is up. */
async function endReencryption(context: StackContext): Promise<void> {
  const { encrypted } = await volumePlaces(context.host, context.volume);
  if (encrypted === undefined || !(await stopReencryption(context, encrypted))) return;
  context.note("its re-encryption was stopped: `latchkey volume reencrypt` goes on with it once the volume is up");
}

async function downOne(context: StackContext, part: DownPart, options: TakeDownOptions, downed: Downed) {
  const { state, params, title, subject } = part;
  context.progress?.(`${title} ${subject}`);
  if (title === "mount") {
    if ((await state.check(params, context)).length > 0) await context.beforeDown?.("wait", context.signal);
    const found = await unmount(context, part, options.killHolders);
    if (found.length > 0) downed.parts.push(part);
    return found;
  }
  if (title === "mapping") await endReencryption(context);
  const found = await state.check(params, context);
  if (found.length === 0) return found;
  // an idle logical volume or loop device carries no service
  if (title === "mapping") await context.beforeDown?.("wait", context.signal);
  downed.parts.push(part);
  await state.apply(params, context, found);
  if ((await state.check(params, context)).length > 0) {
    throw new HostError("still-different", `cannot take down the ${title} ${subject}: it is still there`);
  }
  return found;
}

/** Whether an open mapping would be closed: only then could a key be missed. */
async function isClosing({ host, volume }: StackContext, { upTo }: TakeDownOptions): Promise<boolean> {
  const { luks, name } = volume;
  if (luks === undefined || (upTo !== undefined && LAYERS.indexOf(upTo) > LAYERS.indexOf("luks"))) return false;
  return (await findMapping(host, luks.name ?? name)) !== undefined;
}

/**
 * Takes a volume down from the top: dependents in reverse order, mount, LUKS, logical volume, loop device, each by its own
 * single state; before a mount or an open mapping goes down, also latchkey-volumes.target. What is down already is left alone. Throws HostError `mount-busy` naming who holds the mount; when
 * something fails, what this call took down is brought up again (unless `leaveDown`), which the notes tell.
 */
export async function takeDown(declared: StackContext, options: TakeDownOptions): Promise<StackChanges> {
  const context = withVolume(declared, await resolveIfPossible(declared));
  const changes: Record<string, Json> = {};
  const downed: Downed = { dependents: [], parts: [] };
  if (await isClosing(context, options)) await context.assertKeyKept?.({ force: options.force === true });
  try {
    await down(provenContext(context), options, changes, downed);
  } catch (thrown) {
    if (options.leaveDown !== true) await putBack(context, downed);
    throw thrown;
  }
  return changes;
}
