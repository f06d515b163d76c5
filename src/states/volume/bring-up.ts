import { HostError } from "../../core/errors.ts";
import type { Json } from "../../core/json.ts";
import { readSuperblock } from "../devices/superblock.ts";
import { startDependents, stopDependents, runningDependents } from "./dependents.ts";
import { giveUpRemoval } from "./destroy.ts";
import { growVolume } from "./grow.ts";
import { assertNeverMade, readKnownVolume, rememberVolume, resolveVolume } from "./identity.ts";
import { assertOuterMounted } from "./outer.ts";
import { changeName, isMountedHere, type Part, stackSteps } from "./parts.ts";
import { volumePlaces } from "./places.ts";
import { isProvisioned } from "./provisioned.ts";
import { rollBack, type Undo } from "./roll-back.ts";
import { targetOf } from "./spec.ts";
import { type StackContext, withVolume } from "./stack-context.ts";

/** How far bringing up may go. */
export interface BringUpOptions {
  /**
   * Whether what is missing may be made (files, LVM, LUKS, file system), and what is smaller than declared made larger; else
   * only what is there is brought up, as it is.
   */
  readonly mayFormat: boolean;
}

/** What was done, by name, each as `{ old, new }`. */
export type StackChanges = Readonly<Record<string, Json>>;

/** The refusal of a start: `start` never makes anything. */
function notProvisioned({ volume, grains }: StackContext, { title, subject }: Part): HostError {
  const what = `its ${title} ${subject} is not there, or was never finished`;
  return new HostError("not-provisioned", `cannot start volume "${volume.name}": ${what}`, {
    hint: `make it with: latchkey volume provision ${targetOf(grains, volume.name)}`,
    facts: { volume: volume.name, subject },
  });
}

async function converge(
  context: StackContext,
  part: Part,
  options: BringUpOptions,
  changes: Record<string, Json>,
  undo: Undo[],
): Promise<void> {
  const { state, params, layer } = part;
  const at = context.at(layer);
  const found = await state.check(params, at);
  if (found.length === 0) return;
  if (!options.mayFormat && found.some(({ field }) => part.makes.includes(field))) throw notProvisioned(context, part);
  context.progress?.(`${part.title} ${part.subject}`);
  // noted before it is done: what was cut short is taken back too
  undo.push({ kind: "part", part, changes: found });
  await state.apply(params, at, found);
  const left = await state.check(params, at);
  if (left.length > 0) {
    const fields = left.map(({ field }) => field).join(", ");
    throw new HostError(
      "still-different",
      `cannot bring up the ${part.title} ${part.subject}: ${fields} differs still`,
    );
  }
  for (const change of found) changes[changeName(part, change)] = { old: change.from, new: change.to };
}

/** Dependents that run although the volume is not mounted write to the bare mount point: they are stopped (I9). */
async function stopStrays(context: StackContext, changes: Record<string, Json>): Promise<void> {
  const { volume } = context;
  if (volume.dependents.length === 0 || (await isMountedHere(context, volume))) return;
  const strays = await runningDependents(context);
  if (strays.length === 0) return;
  await stopDependents(context, strays, changes);
  const point = volume.mount?.point ?? "";
  context.note(`stopped ${strays.join(", ")}: running while "${volume.name}" was not mounted on ${point}`);
}

/** A size that cannot be had is told in the end: what is up is no worse for it, and is not taken down. */
async function grow(context: StackContext, changes: Record<string, Json>): Promise<HostError | undefined> {
  try {
    Object.assign(changes, await growVolume(context));
    return undefined;
  } catch (error) {
    if (error instanceof HostError) return error;
    throw error;
  }
}

/** Mounted as the kernel does, which warns of it in its own log alone: "not clean" is no sign of a format that was cut short. */
async function noteUnclean(context: StackContext, content: string | undefined): Promise<void> {
  if (content === undefined || (await context.host.stat(content)) === undefined) return;
  const found = await readSuperblock(context.host, content);
  if (found?.unclean !== true || (await isMountedHere(context, context.volume))) return;
  context.note(
    `the ${found.fsType} file system was not unmounted cleanly, or has errors: it is used as it is; check it soon: ` +
      `latchkey volume stop ${targetOf(context.grains, context.volume.name)}, open it, then e2fsck -f ${content}`,
  );
}

/** What is no reason to leave a volume down is told: its own file system, labelled otherwise than declared. */
async function noteDrift(context: StackContext): Promise<void> {
  const { host, volume } = context;
  const { content } = await volumePlaces(host, volume);
  const wanted = volume.fs?.label;
  const found = wanted === undefined || content === undefined ? undefined : await readSuperblock(host, content);
  if (found === undefined || found.label === wanted) return;
  context.note(`the file system is labelled "${found.label}", not "${wanted}" as the pillar says: it is used as it is`);
}

/** On a disk that takes nothing the volume is up all the same; its next start writes it down. */
async function remember(context: StackContext): Promise<void> {
  try {
    await rememberVolume(context);
  } catch (thrown) {
    if (!(thrown instanceof HostError)) throw thrown;
    context.note(`what it consists of could not be written down: ${thrown.message}`);
  }
}

/** The volume with its disks where they are now; what depends on one that is lost must not run without it (I9). */
async function resolve(declared: StackContext, changes: Record<string, Json>): Promise<StackContext> {
  try {
    return withVolume(declared, await resolveVolume(declared, (line) => declared.note(line)));
  } catch (thrown) {
    await stopStrays(declared.at("dependents"), changes);
    throw thrown;
  }
}

/** One that is to be made whole, from the bottom: not when there is one of its name elsewhere. */
async function assertNew(context: StackContext): Promise<void> {
  const { name, luks } = context.volume;
  if (luks === undefined || (await readKnownVolume(context, name)) !== undefined) return;
  if (!(await isProvisioned(context))) await assertNeverMade(context, name);
}

/**
 * Brings a volume up from the bottom, each layer by its own single state, then its dependents in order, once the mount is
 * proven to be this volume's (I9). What is up already is left alone: then `{}` is returned and no process was
 * started except to ask systemd about dependents. When a layer fails, what this call brought up is taken down again
 * (never a format), which the notes tell, and the failure is thrown. Disks are told by what they carry, not by their names;
 * with `mayFormat` the volume also grows to what the pillar says.
 */
export async function bringUp(declared: StackContext, options: BringUpOptions): Promise<StackChanges> {
  const changes: Record<string, Json> = {};
  const context = await resolve(declared, changes);
  const { volume } = context;
  const undo: Undo[] = [];
  let failure: HostError | undefined;
  await stopStrays(context.at("dependents"), changes);
  await assertOuterMounted(context.at("mount"));
  await giveUpRemoval(context);
  if (options.mayFormat) await assertNew(context);
  try {
    let places = await volumePlaces(context.host, volume);
    for (const { layer, parts } of stackSteps(volume)) {
      if (layer === "mount") await noteUnclean(context, places.content);
      for (const part of parts(places)) await converge(context, part, options, changes, undo);
      if (layer === "loop") places = await volumePlaces(context.host, volume);
    }
    const misfit = options.mayFormat ? await grow(context, changes) : undefined;
    await noteDrift(context);
    await remember(context);
    if (volume.dependents.length > 0) {
      const at = context.at("dependents");
      if (!(await isMountedHere(at, volume))) {
        throw new HostError("not-mounted", `cannot start what depends on "${volume.name}": it is not mounted`);
      }
      await startDependents(at, changes, (name) => undo.push({ kind: "dependent", name }));
    }
    failure = misfit;
  } catch (thrown) {
    await rollBack(context, undo);
    throw thrown;
  }
  if (failure !== undefined) throw failure;
  return changes;
}
