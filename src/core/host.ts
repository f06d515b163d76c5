import { Secret } from "./secret.ts";

/** How one command is run. */
export interface RunOptions {
  /** Bytes for standard input; a Secret, or several one behind the other, go through the pipe and nowhere else (I5). */
  readonly stdin?: Uint8Array | Secret | readonly Secret[];
  /** Called when the command's pipe has taken all of `stdin`, at the latest when it ends: a secret may be wiped from then on. */
  readonly stdinTaken?: () => void;
  /** Exit codes that count as success; default `[0]`. */
  readonly okCodes?: readonly number[];
  /** Deadline; default 120,000. The process group is ended (TERM, then KILL) when it passes. */
  readonly timeoutMs?: number;
  /**
   * Walked to as `holdPath` does, and held: the command starts in what was found. Where others can change what it leads to that
   * is refused, unless it is allowed or the command has another user's rights alone.
   */
  readonly cwd?: string;
  readonly allowUnsafePath?: boolean;
  /** Added to a minimal fixed environment (PATH, LC_ALL=C); never a secret. */
  readonly env?: Readonly<Record<string, string>>;
  /** User to run as, by name. */
  readonly user?: string;
  readonly signal?: AbortSignal;
  /** What the command has open as 3, 4, and so on, besides: `/proc/self/fd/3` leads to it whatever became of its name. */
  readonly descriptors?: readonly number[];
  /** Standard output is key material: it comes as `secret`, at most 64 KiB of it, and `stdout` is "". The caller wipes it. */
  readonly secretStdout?: boolean;
}

/** What goes into a command's standard input, piece by piece; the buffers of secrets themselves, not copies. */
export function stdinParts(stdin: RunOptions["stdin"]): readonly Uint8Array[] {
  if (stdin === undefined) return [];
  if (stdin instanceof Uint8Array) return [stdin];
  return (stdin instanceof Secret ? [stdin] : stdin).map((secret) => secret.expose());
}

/** What a command did. Output is UTF-8 text, each stream bounded to 1 MiB (the rest is dropped and `truncated` set). */
export interface RunResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
  readonly truncated: boolean;
  /** The last 8 KiB of standard output when it was cut; never of a secret. */
  readonly stdoutTail?: string;
  readonly pid: number;
  /** What the command wrote, when `secretStdout` was asked for and there was any. */
  readonly secret?: Secret;
}

export type FileKind = "file" | "directory" | "symlink" | "block" | "char" | "fifo" | "socket";

export interface FileStat {
  readonly kind: FileKind;
  readonly size: number;
  /** Permission bits, such as 0o644. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeMs: number;
  /** Device number of the file itself (block and char files), as `major:minor`, else "". */
  readonly rdev: string;
  /** Number of the device that the file is on, as `major:minor`. */
  readonly dev: string;
}

export interface WriteOptions {
  /** Permission bits from the first byte on. */
  readonly mode: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** How a path is walked. */
export interface HoldOptions {
  /**
   * Go on where others can change what the path leads to. False is an answer to a state's parameter of this name, which the
   * error then hints at.
   */
  readonly allowUnsafePath?: boolean;
  /** When the path ends at a link that nobody else can have planted: hold what that leads to, in place of the link. */
  readonly followLast?: boolean;
  /** A group that may write: who is in it can do anyway what we can. */
  readonly trustedGid?: number;
  /** Make missing parent directories, with these permission bits. */
  readonly parentsMode?: number;
}

/** Owner, group and permission bits to set; undefined leaves as is. */
export interface OwnershipChange {
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly mode?: number | undefined;
}

/**
 * A name in a directory that is held open, so that everything here happens in that very directory whatever becomes of the path.
 * Nothing follows a link. Throws HostError. To be disposed of.
 */
export interface HeldPath extends Disposable {
  /** Where it was, links resolved. */
  readonly path: string;
  /** Why others can change what the path leads to; "" when nobody else can. */
  readonly unsafe: string;
  /** What has the name; undefined when nothing has. */
  readonly found: FileStat | undefined;
  /** The directory, and what was found in it; undefined when nothing was. For `RunOptions.descriptors`. */
  readonly directoryDescriptor: number;
  readonly foundDescriptor: number | undefined;
  /** Of a regular file. */
  readFile(): Promise<Buffer>;
  /** Replaces it whole: temporary file beside it, fsync, rename, fsync of the directory. */
  writeFile(data: Uint8Array, options: WriteOptions): Promise<void>;
  /** Makes the directory, which is what is found from then on. Its owner and mode are right once it has its name. */
  makeDirectory(options: WriteOptions): Promise<void>;
  /**
   * Sets them on the file or directory that was found. Where others can change names it may be another than is meant: `unsafe-owner`
   * unless it belongs to the user that it should belong to, or to whom the directory belongs, and not to root.
   */
  setOwnership(change: OwnershipChange): Promise<void>;
  /** Removes the name of a file or empty directory, on disk when it resolves; nothing happens when it is not there. */
  remove(): Promise<void>;
}

/** Space of the file system that holds a path, in bytes. */
export interface FileSystemSpace {
  readonly total: number;
  readonly free: number;
  readonly available: number;
}

/** A block device or file that is kept open: meanwhile the kernel gives its number to no other device. */
export interface Hold {
  /** What is held. */
  readonly stat: FileStat;
  /** Leads to what is held for as long as it is, for commands too, whatever becomes of its names: `/proc/<pid>/fd/<n>`. */
  readonly path: string;
  /** Whether a path leads to what is held; undefined when it leads to nothing. */
  isAt(path: string): Promise<boolean | undefined>;
  /** Closes it; a second time nothing happens. */
  release(): Promise<void>;
}

/**
 * The only way from a minion's code to its machine. Paths are absolute. Reading methods return undefined for what does
 * not exist; every other failure is a HostError whose `facts` say what was tried (argv masked, exit code, last stderr).
 * What writes goes through `holdPath`: HostError `unsafe-path` where another user can change what the path leads to.
 */
export interface Host {
  /**
   * Runs a program with an argument array, never through a shell. Throws HostError `command-failed` on an exit code not
   * in `okCodes`, `command-missing` when there is no such program, `command-timeout` after the deadline.
   */
  run(argv: readonly [string, ...string[]], options?: RunOptions): Promise<RunResult>;
  readFile(path: string): Promise<Buffer | undefined>;
  /** `length` bytes from `offset`, fewer at the end, from a file or block device; undefined when there is none. */
  readRange(path: string, offset: number, length: number): Promise<Buffer | undefined>;
  /**
   * Walks to a path, part by part, without following a link that another user can have planted (`unsafe-link`), and holds its
   * directory open. Undefined when that does not exist. Throws HostError `unsafe-path` where others can change what the path
   * leads to, unless that is allowed, and `unsafe-link` for a file that has more names there (link(2)).
   */
  holdPath(path: string, options?: HoldOptions): Promise<HeldPath | undefined>;
  /** Replaces the file whole: temporary file beside it, fsync, rename, fsync of the directory. A link is replaced, too. */
  writeFile(path: string, data: Uint8Array, options: WriteOptions): Promise<void>;
  /** Follows symbolic links. */
  stat(path: string): Promise<FileStat | undefined>;
  /** Does not follow symbolic links. */
  lstat(path: string): Promise<FileStat | undefined>;
  readLink(path: string): Promise<string | undefined>;
  /** The canonical path, links resolved; undefined when a part is missing. */
  realPath(path: string): Promise<string | undefined>;
  /** Names in a directory, sorted; undefined when there is no such directory. */
  readDirectory(path: string): Promise<readonly string[] | undefined>;
  /** Makes the directory and its missing parents; the mode applies to what it makes. */
  makeDirectory(path: string, mode: number): Promise<void>;
  /** Removes one file or empty directory, on disk when it resolves; nothing happens when it is not there. */
  remove(path: string): Promise<void>;
  space(path: string): Promise<FileSystemSpace | undefined>;
  /** Opens a block device or file for reading and keeps it open. Nobody is kept from it: mounting or formatting it works. */
  hold(path: string): Promise<Hold | undefined>;
}
