import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, readlinkSync, type Stats } from "node:fs";
import { makeDirectoryIn, O_PATH, openName } from "./descriptor-names.ts";
import { DescriptorPath } from "./descriptor-path.ts";
import { HostError } from "./errors.ts";
import { type Exposure, findExposure, isKeptBySticky, type NameAccount } from "./exposure.ts";
import { foreignServerOf } from "./foreign-mount.ts";
import { errnoOf, fileFailure, isAbsence } from "./file-stat.ts";
import type { HeldPath, HoldOptions } from "./host.ts";

const { O_DIRECTORY, O_NOFOLLOW } = constants;
/** Links that are followed and directories that are made: the kernel follows 40 (path_resolution(7)). */
const MAX_DETOURS = 256;
const TAKEN = new Set(["EEXIST", "ENOTEMPTY"]);

const ownUid = (): number => process.geteuid?.() ?? 0;

/** For messages alone: who is in no file is called by number. */
const nameAccount: NameAccount = (kind, id) => {
  try {
    const text = readFileSync(kind === "user" ? "/etc/passwd" : "/etc/group", "utf8");
    return (
      text
        .split("\n")
        .find((line) => line.split(":")[2] === String(id))
        ?.split(":")[0] ?? ""
    );
  } catch {
    // no such file: the number must do
    return "";
  }
};

const partsOf = (path: string): string[] => path.split("/").filter((part) => part !== "" && part !== ".");

function unsafePath(path: string, { directory, reason }: Exposure, { allowUnsafePath }: HoldOptions): HostError {
  const hint = "another user could put something else there";
  return new HostError("unsafe-path", `cannot use "${path}": ${reason}`, {
    hint:
      allowUnsafePath === false
        ? `${hint}; set allow_unsafe_path: true if that is meant`
        : `${hint}: let root alone write there`,
    facts: { path, directory, reason },
  });
}

function unsafeLink(path: string, at: string, what: string, { directory, reason }: Exposure): HostError {
  return new HostError("unsafe-link", `cannot use "${path}": "${at}" ${what}, and ${reason}`, {
    hint: "such links are never followed: name what it leads to, or remove it",
    facts: { path, directory, reason },
  });
}

/**
 * A path that is walked part by part. As long as nobody else can change a name on the way, `#at` leads to the same directory at
 * each call; from the first directory on in which others can, every step starts from a descriptor of the one before.
 */
class Walk {
  readonly #path: string;
  readonly #options: HoldOptions;
  readonly #own = ownUid();
  readonly #todo: string[];
  /** The directory that was reached, without a slash at its end. */
  #at = "";
  #stats: Stats = lstatSync("/");
  #descriptor: number | undefined;
  #exposure: Exposure | undefined;
  #detours = 0;

  constructor(path: string, options: HoldOptions) {
    this.#path = path;
    this.#options = options;
    this.#todo = partsOf(path);
  }

  run(): HeldPath | undefined {
    try {
      for (;;) {
        const name = this.#todo.shift();
        if (name === undefined) this.#stepBack();
        else if (name === "..") this.#up();
        else if (this.#todo.length > 0) {
          if (!this.#enter(name)) return undefined;
        } else {
          const held = this.#end(name);
          if (held !== undefined) return held;
        }
      }
    } catch (thrown) {
      this.#close();
      throw thrown;
    }
  }

  #close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #place(name: string): string {
    return `${this.#at}/${name}`;
  }

  /** The path ended at a directory: its own name is what is held. */
  #stepBack(): void {
    if (this.#at !== "") {
      const name = this.#at.slice(this.#at.lastIndexOf("/") + 1);
      this.#up();
      this.#todo.push(name);
    } else this.#todo.push(".");
  }

  #up(): void {
    if (this.#exposure !== undefined) throw unsafeLink(this.#path, this.#place(".."), "may be moved", this.#exposure);
    this.#at = this.#at.slice(0, Math.max(0, this.#at.lastIndexOf("/")));
    this.#stats = lstatSync(`${this.#at}/`);
  }

  /** Who can change names in the directory that was reached. */
  #exposed(): Exposure | undefined {
    return findExposure(
      this.#at === "" ? "/" : this.#at,
      this.#stats,
      this.#own,
      nameAccount,
      this.#options.trustedGid,
    );
  }

  #hold(): number {
    this.#descriptor ??= openSync(`${this.#at}/`, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    return this.#descriptor;
  }

  /** Goes into a directory; false when there is none of that name. */
  #enter(name: string): boolean {
    if (this.#exposure === undefined) {
      const stats = lstatSync(this.#place(name), { throwIfNoEntry: false });
      if (stats === undefined) return this.#make(name);
      const exposure = this.#exposed();
      if (stats.isSymbolicLink()) {
        if (exposure !== undefined) throw unsafeLink(this.#path, this.#place(name), "is a link", exposure);
        this.#follow(this.#place(name));
        return true;
      }
      if (!stats.isDirectory()) return false;
      const foreign = this.#foreignAt(name, stats);
      if (foreign !== undefined) {
        this.#expose(foreign);
        return this.#enterHeld(name);
      }
      if (exposure === undefined || isKeptBySticky(this.#stats, stats, this.#own)) {
        this.#at = this.#place(name);
        this.#stats = stats;
        return true;
      }
      this.#expose(exposure);
    }
    return this.#enterHeld(name);
  }

  /** A file system in user space that begins here: all below is at its user's discretion, whatever owner it shows. */
  #foreignAt(name: string, stats: Stats): Exposure | undefined {
    const uid = stats.dev === this.#stats.dev ? undefined : foreignServerOf(stats, this.#own);
    if (uid === undefined) return undefined;
    const directory = this.#place(name);
    const user = nameAccount("user", uid) || String(uid);
    return { directory, reason: `"${directory}" is a file system (FUSE) of user "${user}"` };
  }

  #expose(exposure: Exposure): void {
    if (this.#options.allowUnsafePath !== true) throw unsafePath(this.#path, exposure, this.#options);
    this.#exposure = exposure;
    this.#hold();
  }

  #enterHeld(name: string): boolean {
    const child = openName(this.#hold(), name);
    if (child === undefined) return this.#make(name);
    const stats = fstatSync(child);
    if (!stats.isDirectory()) {
      closeSync(child);
      if (!stats.isSymbolicLink()) return this.#absent();
      throw unsafeLink(this.#path, this.#place(name), "is a link", this.#exposure as Exposure);
    }
    this.#close();
    this.#descriptor = child;
    this.#at = this.#place(name);
    this.#stats = stats;
    return true;
  }

  #absent(): false {
    this.#close();
    return false;
  }

  /** Makes a parent directory that is missing, where that is asked for; it is entered like one that was there. */
  #make(name: string): boolean {
    const { parentsMode: mode } = this.#options;
    const exposure = this.#exposed();
    if (this.#exposure === undefined && exposure !== undefined) this.#expose(exposure);
    if (mode === undefined) return this.#absent();
    this.#count();
    const isUnsafe = this.#exposure !== undefined;
    try {
      closeSync(makeDirectoryIn(this.#hold(), name, { mode }, { isUnsafe, own: this.#own }));
    } catch (thrown) {
      // another made it meanwhile
      if (!TAKEN.has(errnoOf(thrown))) throw thrown;
    }
    if (!isUnsafe) this.#close();
    return this.#enter(name);
  }

  /** A walk that goes round in circles ends. */
  #count(): void {
    this.#detours += 1;
    if (this.#detours <= MAX_DETOURS) return;
    throw new HostError("file-failed", `cannot resolve "${this.#path}": too many symbolic links encountered`, {
      facts: { path: this.#path, errno: "ELOOP" },
    });
  }

  #follow(place: string): void {
    this.#count();
    const target = readlinkSync(place);
    this.#todo.unshift(...partsOf(target));
    if (!target.startsWith("/")) return;
    this.#at = "";
    this.#stats = lstatSync("/");
  }

  /** Holds the last name; undefined when it was a link that is followed. */
  #end(name: string): HeldPath | undefined {
    const exposure = this.#exposed();
    if (this.#exposure === undefined && exposure !== undefined && name !== ".") this.#expose(exposure);
    const directory = this.#hold();
    const path = name === "." ? "/" : this.#place(name);
    const found = openName(directory, name);
    const held = new DescriptorPath({ path, name, directory, found, exposure: this.#exposure, own: this.#own });
    this.#descriptor = undefined;
    if (held.found?.kind !== "symlink" || this.#options.followLast !== true) return this.#proven(held);
    held[Symbol.dispose]();
    if (this.#exposure !== undefined) throw unsafeLink(this.#path, path, "is a link", this.#exposure);
    this.#follow(path);
    return undefined;
  }

  /** A file with a second name may be anybody's (`fs.protected_hardlinks` is not everywhere). */
  #proven(held: DescriptorPath): HeldPath {
    if (this.#exposure === undefined || !held.hasMoreNames) return held;
    held[Symbol.dispose]();
    throw unsafeLink(this.#path, held.path, "has a second name (hard link)", this.#exposure);
  }
}

/** `Host.holdPath` on this machine. Node knows no openat2(2): each step goes through /proc/self/fd of the one before. */
export function holdPath(path: string, options: HoldOptions = {}): HeldPath | undefined {
  try {
    return new Walk(path, options).run();
  } catch (thrown) {
    if (isAbsence(thrown)) return undefined;
    throw fileFailure("walk to", path, thrown);
  }
}
