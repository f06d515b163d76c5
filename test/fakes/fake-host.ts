import { BugError, HostError } from "../../src/core/errors.ts";
import { Secret } from "../../src/core/secret.ts";
import { commandName } from "../../src/minion/mask-argv.ts";
import {
  type FileStat,
  type HeldPath,
  type HoldOptions,
  type Host,
  type RunOptions,
  type RunResult,
  stdinParts,
  type WriteOptions,
} from "../../src/core/host.ts";
import { dirname, fileError, holdNode, type Node, node, readable, statOf } from "./fake-held-path.ts";
import { programWords } from "../../src/minion/program-words.ts";

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
      const said = programWords(result.stderr);
      const message = `cannot run "${commandName(argv)}": exit code ${result.exitCode}${said === "" ? "" : `, ${said}`}`;
      throw new HostError("command-failed", message, { facts: { argv, exitCode: result.exitCode, stderr: said } });
    }
    if (!secretStdout) return result;
    const secret = Secret.take(Buffer.from(result.stdout));
    return { ...result, stdout: "", ...(secret.length === 0 ? {} : { secret }) };
  }

  async readFile(path: string): Promise<Buffer | undefined> {
    const found = this.#find(path, true)?.node;
    return found === undefined ? undefined : Buffer.from(readable(path, found, ["file"]).data);
  }

  async readRange(path: string, offset: number, length: number): Promise<Buffer | undefined> {
    const found = this.#find(path, true)?.node;
    if (found === undefined) return undefined;
    return Buffer.from(readable(path, found, ["file", "block"]).data.subarray(offset, offset + length));
  }

  async holdPath(path: string, options: HoldOptions = {}): Promise<HeldPath | undefined> {
    return holdNode({ nodes: this.#nodes, names: (directory) => this.#names(directory) }, path, options);
  }

  async writeFile(path: string, data: Uint8Array, options: WriteOptions): Promise<void> {
    const held = await this.holdPath(path);
    if (held === undefined) throw fileError("write", path, "ENOENT", "no such file or directory");
    await held.writeFile(data, options);
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
    const held = await this.holdPath(path, { followLast: true, parentsMode: mode });
    if (held?.found?.kind !== "directory") await held?.makeDirectory({ mode });
  }

  async remove(path: string): Promise<void> {
    await (await this.holdPath(path))?.remove();
  }

  async hold(path: string): ReturnType<Host["hold"]> {
    const found = this.#find(path, true);
    if (found === undefined) return undefined;
    const held = readable(path, found.node, ["file", "block"]);
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
