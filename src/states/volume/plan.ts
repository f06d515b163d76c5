import { LatchkeyError } from "../../core/errors.ts";
import type { Json } from "../../core/json.ts";
import { compareRunning, readUnits } from "../service/unit.ts";
import type { CheckContext } from "../state.ts";
import { resolveVolume } from "./identity.ts";
import type { LayerKind } from "./layer.ts";
import { growthNeeded } from "./grow.ts";
import { changeName, isMountedHere, type Part, stackSteps } from "./parts.ts";
import { type VolumePlaces, volumePlaces } from "./places.ts";
import type { VolumeSpec } from "./spec.ts";

/** One thing that bringing the volume up would do. */
export interface PlannedStep {
  readonly layer: LayerKind;
  /** As in the changes of a run: `physical volume /dev/vdb`. */
  readonly what: string;
  /** The device or path that it acts on. */
  readonly subject: string;
  readonly from: Json;
  readonly to: Json;
  /** It writes what was not there (a format): only on what is blank then. */
  readonly destructive: boolean;
  /** False for what follows from the layers below, which are not there yet to be looked at. */
  readonly seen: boolean;
}

/** What bringing a volume up would do, and what speaks against it. */
export interface StackPlan {
  readonly steps: readonly PlannedStep[];
  /** Why it cannot be done; undefined when nothing is seen that speaks against it. */
  readonly refusal: unknown;
}

/** How much of what is below a layer is there: all of it, all of it but not active, or it would have to be made. */
type Below = "there" | "dormant" | "new";

const isMissing = (thrown: unknown): boolean =>
  thrown instanceof LatchkeyError && /^no-|(?:^|-)(?:missing|absent|not-found)(?:-|$)/u.test(thrown.code);

/** Stands for the loop device that is not attached yet; no device has such a name. */
const FUTURE_LOOP = "/dev/loop (not attached yet)";

function withFutureLoop(places: VolumePlaces, { luks }: VolumeSpec): VolumePlaces {
  const below = places.logical ?? FUTURE_LOOP;
  return { ...places, bases: [FUTURE_LOOP], encrypted: luks && below, content: places.mapping ?? below };
}

/** What a part makes of its layer, in a word. */
const OUTCOMES: Readonly<Record<string, string>> = {
  "physical volume": "made",
  "volume group": "made",
  "logical volume": "active",
  "LUKS header": "luks2",
  mapping: "open",
  "file system": "made",
  mount: "mounted",
  directory: "owner and mode",
};
/** Parts of which nothing can be told before their device is there: whether there is anything to do, it alone shows. */
const UNTOLD: ReadonlySet<string> = new Set([
  "physical volume",
  "volume group",
  "LUKS header",
  "file system",
  "directory",
]);

/** What a part would do whose device is not there to be looked at. */
function foretold({ layer, title, subject, makes }: Part, below: Below): readonly PlannedStep[] {
  if (below === "dormant" && UNTOLD.has(title)) return [];
  const what = title === "physical volume" ? `${title} ${subject}` : title;
  const destructive = below === "new" && makes.length > 0;
  return [{ layer, what, subject, from: null, to: OUTCOMES[title] ?? true, destructive, seen: false }];
}

async function planPart(part: Part, context: CheckContext, below: Below) {
  // the mount point as it is without the mount says nothing of what will be mounted there
  if (part.title === "directory" && below !== "there") return { steps: foretold(part, below), refusal: undefined };
  try {
    const found = await part.state.check(part.params, context);
    const steps = found.map((change): PlannedStep => {
      const { layer, subject } = part;
      const destructive = part.makes.includes(change.field);
      return {
        layer,
        what: changeName(part, change),
        subject,
        from: change.from,
        to: change.to,
        destructive,
        seen: true,
      };
    });
    return { steps, refusal: undefined };
  } catch (thrown) {
    if (below !== "there" && isMissing(thrown)) return { steps: foretold(part, below), refusal: undefined };
    return { steps: [], refusal: thrown };
  }
}

async function planGrowth(context: CheckContext, volume: VolumeSpec): Promise<readonly PlannedStep[]> {
  const needed = await growthNeeded({ ...context, volume });
  return needed.map(({ field, layer, from, to }) => {
    return { layer, what: field, subject: field, from, to, destructive: false, seen: true };
  });
}

async function planDependents(
  context: CheckContext,
  volume: VolumeSpec,
  below: Below,
): Promise<readonly PlannedStep[]> {
  const { dependents } = volume;
  if (dependents.length === 0) return [];
  const mounted = below === "there" && (await isMountedHere(context, volume));
  const units = await readUnits(context.host, dependents);
  return dependents.flatMap((name, index): readonly PlannedStep[] => {
    const unit = units[index];
    const base = {
      layer: "dependents",
      what: `dependent ${name}`,
      subject: name,
      destructive: false,
      seen: true,
    } as const;
    if (unit === undefined) return [];
    const [change] = compareRunning(name, unit);
    if (change !== undefined) return [{ ...base, from: change.from, to: "running" }];
    return mounted ? [] : [{ ...base, from: "running without the volume", to: "stopped, then started on it" }];
  });
}

/**
 * What bringing the volume up would do, from the bottom; reads only. Layers whose device is not there yet are foretold from
 * what is below. Never throws for what it finds: that is the `refusal`.
 */
export async function planStack(context: CheckContext, declared: VolumeSpec): Promise<StackPlan> {
  try {
    return await planResolved(context, await resolveVolume({ ...context, volume: declared }));
  } catch (refusal) {
    return { steps: [], refusal };
  }
}

async function planResolved(context: CheckContext, volume: VolumeSpec): Promise<StackPlan> {
  const steps: PlannedStep[] = [];
  let below: Below = "there";
  const places = await volumePlaces(context.host, volume);
  // what a loop device will be called is not known before it is attached
  const foreseen = volume.loop !== undefined && places.bases.length === 0 ? withFutureLoop(places, volume) : places;
  for (const step of stackSteps(volume)) {
    for (const part of step.parts(foreseen)) {
      const planned = await planPart(part, context, below);
      steps.push(...planned.steps);
      if (planned.refusal !== undefined) return { steps, refusal: planned.refusal };
      if (planned.steps.some(({ destructive }) => destructive)) below = "new";
      else if (planned.steps.length > 0 && below === "there") below = "dormant";
    }
  }
  try {
    if (below === "there") steps.push(...(await planGrowth(context, volume)));
    return { steps: [...steps, ...(await planDependents(context, volume, below))], refusal: undefined };
  } catch (refusal) {
    return { steps, refusal };
  }
}
