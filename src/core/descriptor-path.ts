import { randomBytes } from "node:crypto";
import { closeSync, constants, fstatSync, rmdirSync, type Stats, unlinkSync } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { makeDirectoryIn, openName, procPath, setOwnershipOf } from "./descriptor-names.ts";
import { HostError } from "./errors.ts";
import { type Exposure, isTrusted } from "./exposure.ts";
import { fileFailure, isAbsence, toFileStat } from "./file-stat.ts";
import type { FileStat, HeldPath, OwnershipChange, WriteOptions } from "./host.ts";

/** Most bytes of a file that are taken into memory at once. */
export const MAX_FILE_BYTES = 256 * 1024 * 1024;

const READ_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
const CREATE_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

interface Held {
  readonly path: string;
  readonly name: string;
  readonly directory: number;
  readonly found: number | undefined;
  readonly exposure: Exposure | undefined;
  /** The user that we run as. */
  readonly own: number;
}

/** A name and the descriptors that a walk ended with; disposing closes both. */
export class DescriptorPath implements HeldPath {
  readonly path: string;
  readonly unsafe: string;
  readonly directoryDescriptor: number;
  readonly #name: string;
  readonly #own: number;
  readonly #owner: number;
  #found: number | undefined;
  #stats: Stats | undefined;
  #isClosed = false;

  constructor({ path, name, directory, found, exposure, own }: Held) {
    this.path = path;
    this.unsafe = exposure?.reason ?? "";
    this.directoryDescriptor = directory;
    this.#name = name;
    this.#own = own;
    this.#owner = exposure === undefined ? own : fstatSync(directory).uid;
    this.#found = found;
    this.#stats = found === undefined ? undefined : fstatSync(found);
  }

  get found(): FileStat | undefined {
    return this.#stats && toFileStat(this.#stats);
  }

  get foundDescriptor(): number | undefined {
    return this.#found;
  }

  /** Whether it is a file that can be reached by another name as well. */
  get hasMoreNames(): boolean {
    return this.#stats !== undefined && !this.#stats.isDirectory() && this.#stats.nlink > 1;
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.directoryDescriptor);
    if (this.#found !== undefined) closeSync(this.#found);
  }

  readFile(): Promise<Buffer> {
    return this.#attempt("read", async () => {
      const { kind = "file", size = 0 } = this.found ?? {};
      const facts = { path: this.path, kind };
      if (kind !== "file")
        throw new HostError("wrong-file-kind", `cannot read "${this.path}": it is a ${kind}`, { facts });
      if (size > MAX_FILE_BYTES) throw fileTooLarge(this.path, size);
      await using handle = await open(procPath(this.#present()), READ_FLAGS);
      // awaited here: a rejection while the handle is being closed would be nobody's
      return await handle.readFile();
    });
  }

  writeFile(data: Uint8Array, { mode, uid, gid }: WriteOptions): Promise<void> {
    return this.#attempt("write", async () => {
      const temporary = this.#at(`${this.#name}.${randomBytes(8).toString("hex")}.new`);
      try {
        await using handle = await open(temporary, CREATE_FLAGS, mode & 0o700);
        if (uid !== undefined || gid !== undefined) {
          const now = await handle.stat();
          await handle.chown(uid ?? now.uid, gid ?? now.gid);
        }
        // After chown, which clears set-user-id bits; and the open's mode was cut by the umask.
        await handle.chmod(mode);
        await handle.writeFile(data);
        await handle.sync();
        await rename(temporary, this.#at(this.#name));
      } catch (thrown) {
        await rm(temporary, { force: true });
        throw thrown;
      }
      await this.#sync();
    });
  }

  makeDirectory(ownership: WriteOptions): Promise<void> {
    return this.#attempt("make directory", async () => {
      const how = { isUnsafe: this.unsafe !== "", own: this.#own };
      this.#refresh(makeDirectoryIn(this.directoryDescriptor, this.#name, ownership, how));
    });
  }

  setOwnership(change: OwnershipChange): Promise<void> {
    return this.#attempt("set the owner or mode of", async () => {
      const found = this.#present();
      const { kind } = this.found ?? {};
      if (kind !== "file" && kind !== "directory") {
        throw new HostError("wrong-file-kind", `cannot set the owner or mode of "${this.path}": it is a ${kind}`);
      }
      this.#assertMeant(change);
      setOwnershipOf(found, change);
      this.#stats = fstatSync(found);
    });
  }

  remove(): Promise<void> {
    return this.#attempt("remove", async () => {
      // what has the name by now may be another thing
      const now = openName(this.directoryDescriptor, this.#name);
      if (now === undefined) return;
      const isDirectory = fstatSync(now).isDirectory();
      closeSync(now);
      try {
        if (isDirectory) rmdirSync(this.#at(this.#name));
        else unlinkSync(this.#at(this.#name));
      } catch (thrown) {
        if (!isAbsence(thrown)) throw thrown;
      }
      await this.#sync();
    });
  }

  /** Whoever can change names in the directory may have moved something here that belongs to another. */
  #assertMeant({ uid }: OwnershipChange): void {
    const stats = this.#stats;
    if (this.unsafe === "" || stats === undefined) return;
    if (!isTrusted(stats.uid, this.#own) && stats.uid === (uid ?? this.#owner)) return;
    throw new HostError(
      "unsafe-owner",
      `cannot set the owner or mode of "${this.path}": it belongs to user ${stats.uid}, and ${this.unsafe}`,
      {
        hint: "it may have been moved there: remove it, then it is made anew",
        facts: { path: this.path, uid: stats.uid },
      },
    );
  }

  #refresh(found: number): void {
    if (this.#found !== undefined) closeSync(this.#found);
    this.#found = found;
    this.#stats = fstatSync(found);
  }

  #present(): number {
    if (this.#found !== undefined) return this.#found;
    throw Object.assign(new Error("ENOENT: no such file or directory"), { code: "ENOENT" });
  }

  #at(name: string): string {
    return procPath(this.directoryDescriptor, name);
  }

  async #sync(): Promise<void> {
    let directory: FileHandle | undefined;
    try {
      directory = await open(this.#at("."), constants.O_RDONLY | constants.O_DIRECTORY);
      await directory.sync();
    } finally {
      await directory?.close();
    }
  }

  async #attempt<T>(verb: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (thrown) {
      throw fileFailure(verb, this.path, thrown);
    }
  }
}

/** The error of a file that is too large to be taken into memory. */
export function fileTooLarge(path: string, size: number): HostError {
  return new HostError("file-too-large", `cannot read "${path}": it is larger than ${MAX_FILE_BYTES} bytes`, {
    facts: { path, size },
  });
}
