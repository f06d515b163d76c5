import { BugError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import type { Json } from "../../core/json.ts";
import { fileDirectory } from "../file/directory.ts";
import { fsFormatted } from "../fs/formatted.ts";
import { loopAttached } from "../loop/attached.ts";
import { luksFormatted } from "../luks/formatted.ts";
import { luksOpened } from "../luks/opened.ts";
import { lvmLvPresent } from "../lvm/lv-present.ts";
import { lvmPvPresent } from "../lvm/pv-present.ts";
import { lvmVgPresent } from "../lvm/vg-present.ts";
import { mountMounted } from "../mount/mounted.ts";
import type { AnyState, Change, CheckContext, Resource } from "../state.ts";
import type { LayerKind } from "./layer.ts";
import { type VolumePlaces, volumePlaces } from "./places.ts";
import type { VolumeSpec } from "./spec.ts";

/** One single state that brings up a piece of a volume. */
export interface Part {
  readonly layer: LayerKind;
  /** What it is for people: `logical volume /dev/vg0/data`. */
  readonly title: string;
  /** What it is about: a path. */
  readonly subject: string;
  readonly state: Resource<unknown>;
  readonly params: unknown;
  /** The changes that write something that was not there: a format, as against an opening. */
  readonly makes: readonly string[];
}

type Params = Readonly<Record<string, Json | undefined>>;

/** The state as the resource that it is. */
export function resource(state: AnyState): Resource<unknown> {
  if (state.kind === "resource") return state;
  throw new BugError("no-resource", `cannot check "${state.name}": it is no resource`);
}

function part(
  [layer, title, subject]: readonly [LayerKind, string, string],
  state: AnyState,
  params: Params,
  makes: readonly string[] = [],
): Part {
  const given = Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined));
  const kind = resource(state);
  return { layer, title, subject, state: kind, params: kind.params.parse(given), makes };
}

/** One step up the stack: which parts it has, once what is below it is there. */
export interface StackStep {
  readonly layer: LayerKind;
  /** Where the layer will be, in words. */
  readonly what: string;
  readonly parts: (places: VolumePlaces) => readonly Part[];
}

const always = (parts: readonly Part[]) => (): readonly Part[] => parts;

function lvmSteps({ name, lvm }: VolumeSpec): readonly StackStep[] {
  if (lvm === undefined) return [];
  const { vg, lv = name, size } = lvm;
  const device = `/dev/${vg}/${lv}`;
  // a size that differs is for growing to tell: what is there comes up as it is
  const params = { name: lv, vg, size, any_size: true };
  const volume = part(["lv", "logical volume", device], lvmLvPresent, params, ["logical volume"]);
  return [
    {
      layer: "pv",
      what: "physical volume",
      parts: ({ bases }) =>
        bases.map((path) =>
          part(["pv", "physical volume", path], lvmPvPresent, { name: path, vg }, ["physical volume"]),
        ),
    },
    {
      layer: "vg",
      what: "volume group",
      parts: ({ bases }) => {
        const makes = ["volume group", "added physical volumes"];
        return bases.length === 0
          ? []
          : [part(["vg", "volume group", vg], lvmVgPresent, { name: vg, devices: [...bases] }, makes)];
      },
    },
    { layer: "lv", what: device, parts: always([volume]) },
  ];
}

function luksSteps({ name, luks }: VolumeSpec): readonly StackStep[] {
  if (luks === undefined) return [];
  const { key, name: mapping = name, label, cipher, allow_discards, keyslots_size } = luks;
  const open = `/dev/mapper/${mapping}`;
  const header = { key, label, cipher, keyslots_size, volume: name };
  return [
    {
      layer: "luks",
      what: "LUKS header",
      parts: ({ encrypted: device }) =>
        device === undefined
          ? []
          : [
              part(["luks", "LUKS header", device], luksFormatted, { ...header, name: device }, ["luks"]),
              part(["luks", "mapping", open], luksOpened, { name: mapping, device, key, allow_discards }),
            ],
    },
  ];
}

function contentSteps({ name, fs, mount }: VolumeSpec): readonly StackStep[] {
  const steps: StackStep[] = [];
  if (fs !== undefined) {
    steps.push({
      layer: "fs",
      what: "file system",
      parts: ({ content: device }) => {
        const params = { name: device, fstype: fs.type, label: fs.label, volume: name };
        return device === undefined ? [] : [part(["fs", "file system", device], fsFormatted, params, ["file system"])];
      },
    });
  }
  if (fs !== undefined && mount !== undefined) {
    const { point, options, user, group, mode, allow_unsafe_path } = mount;
    const directory = { name: point, allow_unsafe_path, user, group, mode: mode?.replace(/^0+(?=[0-7]{3})/u, "") };
    const isOwned = user !== undefined || group !== undefined || mode !== undefined;
    steps.push({
      layer: "mount",
      what: point,
      parts: ({ content: device }) => {
        if (device === undefined) return [];
        const params = { name: point, device, fstype: fs.type, opts: options.length === 0 ? undefined : [...options] };
        return [
          part(["mount", "mount", point], mountMounted, { ...params, mkmnt: true, allow_unsafe_path }),
          ...(isOwned ? [part(["mount", "directory", point], fileDirectory, directory)] : []),
        ];
      },
    });
  }
  return steps;
}

/** The steps from the bottom up, dependents left out. */
export function stackSteps(volume: VolumeSpec): readonly StackStep[] {
  const { loop } = volume;
  const attached =
    loop &&
    part(["loop", "loop device", loop.file], loopAttached, { ...loop, name: loop.file, file: undefined }, ["file"]);
  const base: readonly StackStep[] =
    attached === undefined ? [] : [{ layer: "loop", what: loop?.file ?? "", parts: always([attached]) }];
  return [...base, ...lvmSteps(volume), ...luksSteps(volume), ...contentSteps(volume)];
}

/** Every part of the stack, as far as it can be told where they are. */
export async function stackParts(host: Host, volume: VolumeSpec): Promise<readonly Part[]> {
  const places = await volumePlaces(host, volume);
  return stackSteps(volume).flatMap(({ parts }) => parts(places));
}

/** Changes that are the coming of the part itself. */
const COMING: ReadonlySet<string> = new Set(["luks", "mounted", "open", "device"]);

/** How a change is called in a return: `mapping`, `mount opts`, `physical volume /dev/vdb`. */
export function changeName({ title, subject }: Part, { field }: Change): string {
  if (title === "physical volume") return `${title} ${subject}`;
  return field === title || COMING.has(field) ? title : `${title} ${field}`;
}

/** Whether what is mounted on the mount point is this volume's own file system. */
export async function isMountedHere(context: CheckContext, volume: VolumeSpec): Promise<boolean> {
  const parts = await stackParts(context.host, volume);
  const mount = parts.find(({ layer, title }) => layer === "mount" && title === "mount");
  if (mount === undefined) return false;
  return (await tryCheck(mount, context)).kind === "up";
}

/** What a look at a part gave: it is up, something has to be done, or it cannot be told or made right. */
export type PartFinding =
  | { readonly kind: "up" }
  | { readonly kind: "down"; readonly changes: readonly Change[] }
  | { readonly kind: "failed"; readonly error: unknown };

/** Looks at a part; a mount that only lacks options counts as up. */
async function tryCheck(wanted: Part, context: CheckContext): Promise<PartFinding> {
  try {
    const changes = await wanted.state.check(wanted.params, context);
    const isDown = changes.some(({ field }) => field === "mounted");
    return isDown ? { kind: "down", changes } : { kind: "up" };
  } catch (error) {
    return { kind: "failed", error };
  }
}
