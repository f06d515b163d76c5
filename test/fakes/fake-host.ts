import { BugError, HostError } from "../../src/core/errors.ts";
import { Secret } from "../../src/core/secret.ts";
import { commandName } from "../../src/minion/mask-argv.ts";
import {
  type FileKind,
  type FileStat,
  type Host,
  type RunOptions,
  type RunResult,
  stdinParts,
} from "../../src/core/host.ts";

interface Node {
  kind: FileKind;
  data: Buffer;
  mode: number;
  uid: number;
  gid: number;
  target: string;
  rdev: string;
  mtimeMs: number;
}

/** What a scripted command does; missing fields are those of a quiet success. */
export type FakeResult = Partial<RunResult>;
type Script = FakeResult | ((stdin: Buffer, options: RunOptions) => FakeResult | Promise<FakeResult>);

/** A command that ran on the fake: its argv and a copy of what it got on standard input. */
export interface FakeRun {
  readonly argv: readonly string[];
  readonly stdin: Buffer;
}

const SPACE = { total: 100 * 2 ** 30, free: 60 * 2 ** 30, available: 50 * 2 ** 30 };

/**
 * A host in memory. Commands do what was scripted with `on`, anything unscripted throws BugError; files behave as on the
 * real host (test/contract/host.test.ts runs the same suite on both). The root directory exists from the start.
 */
export class FakeHost implements Host {
  readonly runs: FakeRun[] = [];
  readonly #nodes = new Map<string, Node>([["/", node({ kind: "directory", mode: 0o755 })]]);
  readonly #scripts: { readonly argv: readonly string[]; readonly script: Script; readonly once: boolean }[] = [];

  /** From now on this exact argv does this; a later script for the same argv takes the place of an earlier one. */
  on(argv: readonly string[], script: Script = {}): this {
    this.#scripts.unshift({ argv, script, once: false });
    return this;
  }

  /** The same, for the next run of it only; several stand in line. */
  once(argv: readonly string[], script: Script = {}): this {
    const firstOther = this.#scripts.findIndex((entry) => !entry.once);
    this.#scripts.splice(firstOther === -1 ? this.#scripts.length : firstOther, 0, { argv, script, once: true });
    return this;
  }

  /** Puts a file (and its parents) there. */
  file(path: string, data: string | Uint8Array = "", facts: Partial<Omit<Node, "data">> = {}): this {
    this.#parents(path);
    this.#nodes.set(path, node({ ...facts, data: Buffer.from(data) }));
    return this;
  }

  directory(path: string): this {
    this.#parents(`${path}/x`);
    return this;
  }

  link(path: string, target: string): this {
    this.#parents(path);
    this.#nodes.set(path, node({ kind: "symlink", mode: 0o777, target }));
    return this;
  }

  /** The text of a file, for assertions; undefined when there is none. */
  text(path: string): string | undefined {
    return this.#find(path, true)?.node.data.toString("utf8");
  }

  async run(argv: readonly [string, ...string[]], options: RunOptions = {}): Promise<RunResult> {
    if (options.signal?.aborted === true)
      throw new HostError("command-aborted", `cannot run "${commandName(argv)}": stopped`);
    const at = this.#scripts.findIndex(
      (entry) => entry.argv.length === argv.length && entry.argv.every((word, index) => word === argv[index]),
    );
    const entry = this.#scripts[at];
    if (entry === undefined) throw new BugError("unscripted-command", `unscripted command: ${JSON.stringify(argv)}`);
    if (entry.once) this.#scripts.splice(at, 1);
    const { stdin } = options;
    const bytes = Buffer.concat(stdinParts(stdin));
    this.runs.push({ argv, stdin: bytes });
    if (stdin !== undefined) options.stdinTaken?.();
    const scripted = typeof entry.script === "function" ? await entry.script(bytes, options) : entry.script;
    const { secretStdout = false } = options;
    const result = { exitCode: 0, stdout: "", stderr: "", durationMs: 1, truncated: false, pid: 1, ...scripted };
    if (!(options.okCodes ?? [0]).includes(result.exitCode)) {
      const said = result.stderr.trimEnd().split("\n").at(-1) ?? "";
      const message = `cannot run "${commandName(argv)}": exit code ${result.exitCode}${said === "" ? "" : `, ${said}`}`;
      throw new HostError("command-failed", message, { facts: { argv, exitCode: result.exitCode, stderr: said } });
    }
    if (!secretStdout) return result;
    const secret = Secret.take(Buffer.from(result.stdout));
    return { ...result, stdout: "", ...(secret.length === 0 ? {} : { secret }) };
  }

  async readFile(path: string): Promise<Buffer | undefined> {
    const found = this.#find(path, true)?.node;
    return found === undefined ? undefined : Buffer.from(this.#readable(path, found, ["file"]).data);
  }

  async readRange(path: string, offset: number, length: number): Promise<Buffer | undefined> {
    const found = this.#find(path, true)?.node;
    if (found === undefined) return undefined;
    return Buffer.from(this.#readable(path, found, ["file", "block"]).data.subarray(offset, offset + length));
  }

  async writeFile(
    path: string,
    data: Uint8Array,
    { mode, uid = 0, gid = 0 }: Parameters<Host["writeFile"]>[2],
  ): Promise<void> {
    const parent = this.#find(dirname(path), true);
    if (parent === undefined) throw fileError("write", path, "ENOENT", "no such file or directory");
    const at = `${parent.path === "/" ? "" : parent.path}/${path.split("/").at(-1) ?? ""}`;
    if (this.#nodes.get(at)?.kind === "directory") throw fileError("write", path, "EISDIR", "it is a directory");
    this.#nodes.set(at, node({ data: Buffer.from(data), mode, uid, gid }));
  }

  async stat(path: string): Promise<FileStat | undefined> {
    return statOf(this.#find(path, true)?.node);
  }

  async lstat(path: string): Promise<FileStat | undefined> {
    return statOf(this.#find(path, false)?.node);
  }

  async readLink(path: string): Promise<string | undefined> {
    const found = this.#find(path, false)?.node;
    if (found === undefined) return undefined;
    if (found.kind !== "symlink") throw fileError("read link", path, "EINVAL", "invalid argument");
    return found.target;
  }

  async realPath(path: string): Promise<string | undefined> {
    return this.#find(path, true)?.path;
  }

  async readDirectory(path: string): Promise<readonly string[] | undefined> {
    const found = this.#find(path, true);
    if (found === undefined) return undefined;
    if (found.node.kind !== "directory") return undefined;
    return this.#names(found.path);
  }

  async makeDirectory(path: string, mode: number): Promise<void> {
    const found = this.#find(path, true)?.node;
    if (found?.kind === "directory") return;
    if (found !== undefined) throw fileError("make directory", path, "EEXIST", "file already exists");
    await this.makeDirectory(dirname(path), mode);
    const parent = this.#find(dirname(path), true);
    const base = parent === undefined || parent.path === "/" ? "" : parent.path;
    this.#nodes.set(`${base}/${path.split("/").at(-1) ?? ""}`, node({ kind: "directory", mode }));
  }

  async setMode(path: string, mode: number): Promise<void> {
    this.#present("set the mode of", path).mode = mode;
  }

  async setOwner(path: string, uid: number, gid: number): Promise<void> {
    Object.assign(this.#present("set the owner of", path), { uid, gid });
  }

  async remove(path: string): Promise<void> {
    const found = this.#find(path, false);
    if (found === undefined) return;
    if (found.node.kind === "directory" && this.#names(found.path).length > 0) {
      throw fileError("remove", path, "ENOTEMPTY", "directory not empty");
    }
    this.#nodes.delete(found.path);
  }

  async hold(path: string): ReturnType<Host["hold"]> {
    const found = this.#find(path, true);
    if (found === undefined) return undefined;
    const held = this.#readable(path, found.node, ["file", "block"]);
    const isHeld = (node: Node) => (held.kind === "block" ? node.rdev === held.rdev : node === held);
    const stat = statOf(held);
    if (stat === undefined) return undefined;
    return {
      stat,
      path: found.path,
      isAt: async (other) => {
        const at = this.#find(other, true);
        return at && isHeld(at.node);
      },
      release: async () => {},
    };
  }

  async space(path: string): ReturnType<Host["space"]> {
    return this.#find(path, true) === undefined ? undefined : SPACE;
  }

  #names(directory: string): readonly string[] {
    const prefix = directory === "/" ? "/" : `${directory}/`;
    return [...this.#nodes.keys()]
      .filter((path) => path.startsWith(prefix) && path !== "/" && !path.slice(prefix.length).includes("/"))
      .map((path) => path.slice(prefix.length))
      .sort();
  }

  #parents(path: string): void {
    const parts = path.split("/").slice(1, -1);
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const parent = `/${parts.slice(0, depth).join("/")}`;
      if (!this.#nodes.has(parent)) this.#nodes.set(parent, node({ kind: "directory", mode: 0o755 }));
    }
  }

  #readable(path: string, found: Node, kinds: readonly FileKind[]): Node {
    if (kinds.includes(found.kind)) return found;
    const facts = { path, kind: found.kind };
    throw new HostError("wrong-file-kind", `cannot read "${path}": it is a ${found.kind}`, { facts });
  }

  #present(verb: string, path: string): Node {
    const found = this.#find(path, true);
    if (found === undefined) throw fileError(verb, path, "ENOENT", "no such file or directory");
    return found.node;
  }

  #find(path: string, follow: boolean, hops = 0): { readonly path: string; readonly node: Node } | undefined {
    const parts = path.split("/").filter((part) => part !== "" && part !== ".");
    let at = "";
    for (const [index, part] of parts.entries()) {
      at = part === ".." ? at.slice(0, at.lastIndexOf("/")) : `${at}/${part}`;
      const here = this.#nodes.get(at === "" ? "/" : at);
      if (here === undefined) return undefined;
      const last = index === parts.length - 1;
      if (here.kind === "symlink" && (follow || !last)) {
        if (hops > 20) throw fileError("resolve", path, "ELOOP", "too many symbolic links encountered");
        const base = here.target.startsWith("/") ? here.target : `${dirname(at)}/${here.target}`;
        return this.#find([base, ...parts.slice(index + 1)].join("/"), follow, hops + 1);
      }
      if (!last && here.kind !== "directory") return undefined;
    }
    const key = at === "" ? "/" : at;
    const found = this.#nodes.get(key);
    return found === undefined ? undefined : { path: key, node: found };
  }
}

function node(facts: Partial<Node>): Node {
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

function statOf(found: Node | undefined): FileStat | undefined {
  if (found === undefined) return undefined;
  const { kind, data, mode, uid, gid, rdev, mtimeMs } = found;
  return { kind, size: data.length, mode, uid, gid, rdev, dev: "8:1", mtimeMs };
}

function dirname(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

function fileError(verb: string, path: string, errno: string, reason: string): HostError {
  return new HostError("file-failed", `cannot ${verb} "${path}": ${reason}`, { facts: { path, errno } });
}
