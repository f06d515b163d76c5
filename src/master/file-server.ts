import type { FileRoots } from "../sls/file-roots.ts";
import { FILE_CHUNK_BYTES, type Request, type Response } from "../wire/messages.ts";

type Listing = Promise<Response<"files.list">>;

/**
 * The file roots as minions may read them. A path that is malformed, missing or outside the roots is not found, all
 * alike. Listings are shared: whoever asks while one runs waits for the next, so that none is older than its request.
 */
export class FileServer {
  readonly #roots: FileRoots;
  #running: Listing | undefined;
  #next: Listing | undefined;

  constructor(roots: FileRoots) {
    this.#roots = roots;
  }

  /** Every file with its hash. */
  async list(): Listing {
    if (this.#running === undefined) {
      this.#running = this.#walk();
      return this.#running;
    }
    this.#next ??= this.#running.then(
      async () => this.#begin(),
      async () => this.#begin(),
    );
    return this.#next;
  }

  /** A chunk of one file. */
  async get({ path, offset }: Request<"files.get">): Promise<Response<"files.get">> {
    const chunk = Number.isSafeInteger(offset)
      ? await this.#roots.readChunk(path, offset, FILE_CHUNK_BYTES)
      : undefined;
    if (chunk === undefined) return { found: false, data: new Uint8Array(), eof: true };
    return { found: true, data: chunk.data, eof: chunk.eof };
  }

  async #begin(): Listing {
    this.#next = undefined;
    this.#running = this.#walk();
    return this.#running;
  }

  async #walk(): Listing {
    try {
      const files = await this.#roots.list();
      return { files: files.map(({ path, size, sha256 }) => ({ path, size, sha256 })) };
    } finally {
      if (this.#next === undefined) this.#running = undefined;
    }
  }
}
