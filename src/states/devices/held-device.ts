import { HostError } from "../../core/errors.ts";
import type { Hold, Host } from "../../core/host.ts";
import type { LayerKind } from "../volume/layer.ts";
import { missingDevice, wrongDevice } from "./block-device.ts";
import { type DeviceIdentity, describeIdentity, isSameDevice, readDeviceIdentity } from "./device-identity.ts";

/** What acts on a device: a state's context, or a volume's, which has a host for each of its layers. */
interface Acting<C> {
  readonly host: Host;
  at?(layer: LayerKind): C;
}

interface HeldDevice {
  readonly hold: Hold;
  /** As asked for. */
  readonly path: string;
  /** What commands get in place of it. */
  readonly node: string;
  readonly identity: DeviceIdentity;
  isOver: boolean;
}

const FILE: DeviceIdentity = { number: "", sequence: "", start: "", mappingUuid: "", bytes: 0 };

/** The refusal of a device that is not the one that was looked at. `what` says what was done, or was not. */
export function swappedDevice(path: string, was: string, is: string, what: string): HostError {
  return new HostError("device-swapped", `cannot go on with "${path}": it was ${was}, and is ${is} now; ${what}`, {
    hint: "something renamed or exchanged devices meanwhile: see which is which, then run it again",
    facts: { path, was, is },
  });
}

async function identify(host: Host, { stat }: Hold): Promise<DeviceIdentity | undefined> {
  return stat.kind === "block" ? readDeviceIdentity(host, stat.rdev) : FILE;
}

async function describePath(host: Host, path: string): Promise<string> {
  const stat = await host.stat(path);
  if (stat?.kind === "block") return describeIdentity(await readDeviceIdentity(host, stat.rdev));
  return stat === undefined ? "nothing" : `another ${stat.kind}`;
}

/** Throws HostError `device-swapped` unless the path leads to what is held, and that is what it was. */
async function assertSame(
  host: Host,
  { hold, path, identity }: HeldDevice,
  what: string,
  options: { readonly isResizable?: boolean } = {},
): Promise<void> {
  const [now, isThere] = await Promise.all([identify(host, hold), hold.isAt(path)]);
  const was = describeIdentity(identity);
  if (!isSameDevice(identity, now, options)) throw swappedDevice(path, was, describeIdentity(now), what);
  // a name that is gone leads to no other device: links by UUID go with what is wiped
  if (isThere === false) throw swappedDevice(path, was, await describePath(host, path), what);
}

/** The host on which the path leads to what is held, for all that reads it and every command that is given it. */
function heldHost(host: Host, held: HeldDevice): Host {
  const { path: asked, node } = held;
  const at = (path: string): string => (path === asked ? node : path);
  return {
    run: async (argv, options) => {
      if (!argv.includes(asked) && !argv.includes(node)) return host.run(argv, options);
      const [program, ...words] = argv;
      await assertSame(host, held, `${program} was not run`);
      const result = await host.run([program, ...words.map(at)], options);
      // one that outlives the hold was right when it began
      if (!held.isOver) await assertSame(host, held, `${program} was run on what it was`, { isResizable: true });
      return result;
    },
    readRange: (path, offset, length) => host.readRange(at(path), offset, length),
    stat: (path) => host.stat(at(path)),
    hold: (path) => host.hold(at(path)),
    readFile: (path) => host.readFile(path),
    writeFile: (path, data, options) => host.writeFile(path, data, options),
    lstat: (path) => host.lstat(path),
    readLink: (path) => host.readLink(path),
    realPath: (path) => host.realPath(path),
    readDirectory: (path) => host.readDirectory(path),
    makeDirectory: (path, mode) => host.makeDirectory(path, mode),
    holdPath: (path, options) => host.holdPath(path, options),
    remove: (path) => host.remove(path),
    space: (path) => host.space(path),
  };
}

function heldContext<C extends Acting<C>>(context: C, held: HeldDevice): C {
  const layers = context.at && { at: (layer: LayerKind) => heldContext(context.at?.(layer) ?? context, held) };
  return { ...context, ...layers, host: heldHost(context.host, held) };
}

/**
 * Opens what a path leads to, a device by the kernel's own name for it: no rule of udev changes that one, and while the
 * device is held, nor does the kernel. Where there is no such node, and for a file, commands get the descriptor's path.
 */
async function holdPath(host: Host, path: string): Promise<HeldDevice> {
  const stat = await host.stat(path);
  const missing = missingDevice(`cannot find device "${path}": there is nothing at this path`, path);
  if (stat === undefined) throw missing;
  if (stat.kind !== "block" && stat.kind !== "file") {
    throw wrongDevice(`cannot use "${path}" as a device: it is a ${stat.kind}`, path, stat.kind);
  }
  const kernelName = (await host.realPath(`/sys/dev/block/${stat.rdev}`))?.split("/").at(-1);
  const node = `/dev/${kernelName?.replaceAll("!", "/")}`;
  const isNode = stat.kind === "block" && (await host.stat(node))?.rdev === stat.rdev;
  const hold = await host.hold(isNode ? node : path);
  if (hold === undefined) throw missing;
  const identity = await identify(host, hold);
  if (identity !== undefined && hold.stat.rdev === stat.rdev) {
    return { hold, path, node: isNode ? node : hold.path, identity, isOver: false };
  }
  await hold.release();
  throw swappedDevice(path, `device ${stat.rdev}`, await describePath(host, path), "nothing was changed");
}

/**
 * Hands `use` a context in which this path leads to one and the same device from the first look to the last act, and keeps that
 * open meanwhile. Commands that are given the path get the kernel's own name of the device; right before and right after each of
 * them it is compared once more with what it was. `seen` is what an earlier look found in its place. Throws HostError
 * `device-missing`, `wrong-device`, and `device-swapped` naming both devices: before an act, then nothing was done.
 */
export async function holding<C extends Acting<C>, T>(
  context: C,
  path: string,
  use: (held: C) => Promise<T>,
  seen?: DeviceIdentity,
): Promise<T> {
  const { host } = context;
  const held = await holdPath(host, path);
  try {
    if (seen !== undefined && !isSameDevice(seen, held.identity)) {
      throw swappedDevice(path, describeIdentity(seen), describeIdentity(held.identity), "nothing was changed");
    }
    return await use(heldContext(context, held));
  } finally {
    held.isOver = true;
    await held.hold.release();
  }
}

/** As `holding`, for several devices at once. `seen` has what was found at each path. */
export async function holdingAll<C extends Acting<C>, T>(
  context: C,
  paths: readonly string[],
  use: (held: C) => Promise<T>,
  seen: ReadonlyMap<string, DeviceIdentity> = new Map(),
): Promise<T> {
  const [path, ...others] = paths;
  if (path === undefined) return use(context);
  return holding(context, path, (held) => holdingAll(held, others, use, seen), seen.get(path));
}
