import { HostError } from "../../src/core/errors.ts";
import { type Exposure, findExposure, isKeptBySticky } from "../../src/core/exposure.ts";
import type { FileKind, FileStat, HeldPath, HoldOptions } from "../../src/core/host.ts";

/** What the fake host has at a path. */
export interface Node {
  kind: FileKind;
  data: Buffer;
  mode: number;
  uid: number;
  gid: number;
  target: string;
  rdev: string;
  mtimeMs: number;
}

/** The fake's files by path, and the names in a directory. */
export interface Nodes {
  readonly nodes: Map<string, Node>;
  names(directory: string): readonly string[];
}

/** A file with what it has by default. */
export function node(facts: Partial<Node>): Node {
  return {
    kind: "file",
    data: Buffer.alloc(0),
    mode: 0o644,
    uid: 0,
    gid: 0,
    target: "",
    rdev: "",
    mtimeMs: 1_700_000_000_000,
    ...facts,
  };
}

/** As `Host.stat` tells it. */
export function statOf(found: Node | undefined): FileStat | undefined {
  if (found === undefined) return undefined;
  const { kind, data, mode, uid, gid, rdev, mtimeMs } = found;
  return { kind, size: data.length, mode, uid, gid, rdev, dev: "8:1", mtimeMs };
}

/** The directory of a path. */
export function dirname(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

/** An error as the real host's. */
export function fileError(verb: string, path: string, errno: string, reason: string): HostError {
  return new HostError("file-failed", `cannot ${verb} "${path}": ${reason}`, { facts: { path, errno } });
}

const partsOf = (path: string): string[] => path.split("/").filter((part) => part !== "" && part !== ".");
const join = (directory: string, name: string): string => (directory === "/" ? `/${name}` : `${directory}/${name}`);

function linkRefused(path: string, { reason }: Exposure): HostError {
  return new HostError("unsafe-link", `cannot use "${path}": it is a link, and ${reason}`);
}

/** `Host.holdPath` in memory; the fake runs as root. */
export function holdNode(files: Nodes, path: string, options: HoldOptions): HeldPath | undefined {
  const { nodes } = files;
  const todo = partsOf(path);
  let at = "/";
  let exposure: Exposure | undefined;
  for (let turn = 0; turn < 100; turn += 1) {
    const name = todo.shift() ?? "";
    if (name === "..") {
      at = dirname(at);
      continue;
    }
    const isLast = todo.length === 0;
    const directory = nodes.get(at) as Node;
    const place = join(at, name);
    const found = nodes.get(place);
    const here = findExposure(at, directory, 0, () => "");
    if (found?.kind === "symlink" && !(isLast && options.followLast !== true)) {
      if (exposure ?? here) throw linkRefused(place, (exposure ?? here) as Exposure);
      if (found.target.startsWith("/")) at = "/";
      todo.unshift(...partsOf(found.target));
      continue;
    }
    if (here && (isLast || found === undefined || !isKeptBySticky(directory, found, 0))) exposure ??= here;
    if (exposure && options.allowUnsafePath !== true) {
      throw new HostError("unsafe-path", `cannot use "${path}": ${exposure.reason}`, { facts: { path } });
    }
    if (isLast) return new FakeHeldPath(files, place, exposure?.reason ?? "");
    if (found === undefined && options.parentsMode === undefined) return undefined;
    if (found === undefined) nodes.set(place, node({ kind: "directory", mode: options.parentsMode ?? 0 }));
    else if (found.kind !== "directory") return undefined;
    at = place;
  }
  throw fileError("resolve", path, "ELOOP", "too many symbolic links encountered");
}

class FakeHeldPath implements HeldPath {
  readonly path: string;
  readonly unsafe: string;
  readonly directoryDescriptor = 100;
  readonly #files: Nodes;

  constructor(files: Nodes, path: string, unsafe: string) {
    this.#files = files;
    this.path = path;
    this.unsafe = unsafe;
  }

  get #node(): Node | undefined {
    return this.#files.nodes.get(this.path);
  }

  get found(): FileStat | undefined {
    return statOf(this.#node);
  }

  get foundDescriptor(): number | undefined {
    return this.#node === undefined ? undefined : 101;
  }

  [Symbol.dispose](): void {}

  async readFile(): Promise<Buffer> {
    return Buffer.from(readable(this.path, this.#node, ["file"]).data);
  }

  async writeFile(data: Uint8Array, { mode, uid = 0, gid = 0 }: Parameters<HeldPath["writeFile"]>[1]): Promise<void> {
    if (this.#node?.kind === "directory") throw fileError("write", this.path, "EISDIR", "it is a directory");
    this.#files.nodes.set(this.path, node({ data: Buffer.from(data), mode, uid, gid }));
  }

  async makeDirectory({ mode, uid = 0, gid = 0 }: Parameters<HeldPath["makeDirectory"]>[0]): Promise<void> {
    if (this.#node !== undefined) throw fileError("make directory", this.path, "EEXIST", "file already exists");
    this.#files.nodes.set(this.path, node({ kind: "directory", mode, uid, gid }));
  }

  async setOwnership(change: Parameters<HeldPath["setOwnership"]>[0]): Promise<void> {
    const present = readable(this.path, this.#node, ["file", "directory"]);
    const owner = this.#files.nodes.get(dirname(this.path))?.uid;
    if (this.unsafe !== "" && (present.uid === 0 || present.uid !== (change.uid ?? owner))) {
      throw new HostError("unsafe-owner", `cannot set the owner or mode of "${this.path}": it belongs to another`);
    }
    for (const key of ["uid", "gid", "mode"] as const) present[key] = change[key] ?? present[key];
  }

  async remove(): Promise<void> {
    if (this.#node?.kind === "directory" && this.#files.names(this.path).length > 0) {
      throw fileError("remove", this.path, "ENOTEMPTY", "directory not empty");
    }
    this.#files.nodes.delete(this.path);
  }
}

/** The node, when it is there and of such a kind. */
export function readable(path: string, found: Node | undefined, kinds: readonly FileKind[]): Node {
  if (found === undefined) throw fileError("read", path, "ENOENT", "no such file or directory");
  if (kinds.includes(found.kind)) return found;
  const facts = { path, kind: found.kind };
  throw new HostError("wrong-file-kind", `cannot read "${path}": it is a ${found.kind}`, { facts });
}
