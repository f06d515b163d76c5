import type { Host } from "../../core/host.ts";
import { lookAt } from "../devices/held.ts";
import { readMounts, readSwaps } from "../devices/mount-table.ts";
import { listBlockDevices } from "../devices/block-device.ts";

/** How a process keeps a file system busy. */
export type HoldKind = "open file" | "working directory" | "root directory" | "program" | "mapped file";

/** A process that keeps a mounted file system busy. */
export interface ProcessHolder {
  readonly pid: number;
  readonly name: string;
  /** Its systemd unit, "" for none. */
  readonly unit: string;
  /** When it started, in clock ticks since boot: with the pid it tells one process from all others. */
  readonly startTicks: string;
  /** The first thing found by which it holds it. */
  readonly kind: HoldKind;
  readonly path: string;
}

/** Everything that keeps a mount busy. */
export interface Holders {
  readonly processes: readonly ProcessHolder[];
  /** Mount points below it. */
  readonly mounts: readonly string[];
  /** Loop devices on files in it. */
  readonly loops: readonly string[];
  /** Swap files in it. */
  readonly swaps: readonly string[];
}

const LINKS = [
  ["cwd", "working directory"],
  ["root", "root directory"],
  ["exe", "program"],
] as const;

async function quiet<T>(read: () => Promise<T | undefined>): Promise<T | undefined> {
  // a process may end while it is looked at
  return read().catch(() => undefined);
}

async function text(host: Host, path: string): Promise<string> {
  return (await quiet(() => host.readFile(path)))?.toString("utf8") ?? "";
}

interface Place {
  readonly point: string;
  /** Device number of the files in it, as stat(2) says. */
  readonly dev: string;
}

type Holds = (link: string, path: string) => Promise<boolean>;

/**
 * Whether what a link of /proc/<pid> points at is on the file system. In our own mount namespace the path tells; in
 * another one only the file's device does.
 */
function judge(host: Host, { point, dev }: Place, isForeign: boolean): Holds {
  return async (link, path) => {
    if (path === point || path.startsWith(`${point}/`)) return true;
    if (!isForeign || dev === "" || !path.startsWith("/")) return false;
    return (await quiet(() => host.stat(link)))?.dev === dev;
  };
}

async function findHold(
  host: Host,
  pid: string,
  holds: Holds,
  point: string,
): Promise<{ readonly kind: HoldKind; readonly path: string } | undefined> {
  const base = `/proc/${pid}`;
  const look = async (link: string): Promise<string | undefined> => {
    const path = await quiet(() => host.readLink(link));
    return path !== undefined && (await holds(link, path)) ? path : undefined;
  };
  for (const fd of (await quiet(() => host.readDirectory(`${base}/fd`))) ?? []) {
    const path = await look(`${base}/fd/${fd}`);
    if (path !== undefined) return { kind: "open file", path };
  }
  for (const [name, kind] of LINKS) {
    const path = await look(`${base}/${name}`);
    if (path !== undefined) return { kind, path };
  }
  for (const line of (await text(host, `${base}/maps`)).split("\n")) {
    const at = line.indexOf("/");
    const path = at === -1 ? "" : line.slice(at);
    if (path === point || path.startsWith(`${point}/`)) return { kind: "mapped file", path };
  }
  return undefined;
}

/** Field 22 of /proc/<pid>/stat (proc(5)); the name in field 2 may hold anything. */
const startOf = (stat: string): string => stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";

const unitOf = (cgroup: string): string => /\/([^/\n]+\.(?:service|scope))/u.exec(cgroup)?.[1] ?? "";

async function describeProcess(host: Host, pid: string) {
  const [name, cgroup, stat] = await Promise.all([
    text(host, `/proc/${pid}/comm`),
    text(host, `/proc/${pid}/cgroup`),
    text(host, `/proc/${pid}/stat`),
  ]);
  return { pid: Number(pid), name: name.trim(), unit: unitOf(cgroup), startTicks: startOf(stat) };
}

/** Which process holds which file system cannot be told of ones that end while they are looked at: those hold nothing. */
async function findProcesses(host: Host, place: Place): Promise<readonly ProcessHolder[]> {
  const own = await quiet(() => host.readLink("/proc/self/ns/mnt"));
  const pids = ((await host.readDirectory("/proc")) ?? []).filter((name) => /^\d+$/u.test(name));
  const found: ProcessHolder[] = [];
  for (const pid of pids) {
    const namespace = await quiet(() => host.readLink(`/proc/${pid}/ns/mnt`));
    const holds = judge(host, place, namespace !== undefined && namespace !== own);
    const hold = await findHold(host, pid, holds, place.point);
    if (hold !== undefined) found.push({ ...(await describeProcess(host, pid)), ...hold });
  }
  return found.toSorted((a, b) => a.pid - b.pid);
}

/** Whether it is still the process that was found, and no other with its number. */
export async function isAlive(host: Host, { pid, startTicks }: ProcessHolder): Promise<boolean> {
  const stat = await text(host, `/proc/${pid}/stat`);
  // a zombie holds nothing any more
  return stat !== "" && startOf(stat) === startTicks && !/\) [ZX] /u.test(stat);
}

/** What keeps the file system mounted on `mountPoint` busy, from /proc and /sys alone. */
export async function findHolders(host: Host, mountPoint: string): Promise<Holders> {
  // a link that another user planted would have the holders of another file system ended
  const seen = await lookAt(host, mountPoint, { allowUnsafePath: true });
  const point = seen?.path ?? mountPoint;
  const inside = (path: string) => path.startsWith(`${point}/`);
  const loops: string[] = [];
  for (const name of await listBlockDevices(host)) {
    if (!name.startsWith("loop")) continue;
    const file = (await text(host, `/sys/class/block/${name}/loop/backing_file`)).trimEnd();
    if (inside(file)) loops.push(`/dev/${name} (${file})`);
  }
  return {
    processes: await findProcesses(host, { point, dev: seen?.found?.dev ?? "" }),
    mounts: (await readMounts(host)).map((mount) => mount.mountPoint).filter(inside),
    loops,
    swaps: (await readSwaps(host)).filter(inside),
  };
}

/** What keeps it busy, one thing a line; [] when nothing is seen. */
export function describeHolders({ processes, mounts, loops, swaps }: Holders): readonly string[] {
  return [
    ...processes.map(({ pid, name, unit, kind, path }) => {
      const of = unit === "" ? "" : ` of ${unit}`;
      return `${name} (pid ${pid}${of}): ${kind} ${path}`;
    }),
    ...mounts.map((path) => `mounted below it: ${path}`),
    ...loops.map((device) => `loop device on a file in it: ${device}`),
    ...swaps.map((path) => `swap file in it: ${path}`),
  ];
}
