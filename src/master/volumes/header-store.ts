import { HostError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import { type EscrowedHeader, escrowedHeaderSchema, MAX_HEADER_BYTES } from "../../core/volume-header.ts";
import { sha256 } from "../../core/crypto/hash.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Change, Store } from "../store/store.ts";
import type { Vault } from "./vault.ts";

/** Facts are at `header/<id>/<volume>/<version>`, pieces of the encrypted bytes below `header-data/…/<version>/`. */
const FACTS = "header/";
const DATA = "header-data/";
const PENDING = "header-pending/";
/** Distributed stores take 1.5 MiB in one write. */
const PIECE_BYTES = 512 * 1024;
const DIGITS = 6;

const storedSchema = escrowedHeaderSchema.extend({
  pieces: z.number().int().positive(),
  /** Which ciphertext of it counts: one more each time that it is encrypted anew. */
  copy: z.number().int().nonnegative().default(0),
  /** Name of the set of recipients (`recipientSetId`); "" when it is not known. */
  recipients: z.string().default(""),
});
/** Pieces that do not count (yet, or any more). */
const pendingSchema = z.object({
  version: z.number().int().positive(),
  pieces: z.number().int(),
  copy: z.number().int().nonnegative().default(0),
});
type Pieces = z.infer<typeof pendingSchema>;
/** A header as the store keeps it. */
export type StoredHeader = z.infer<typeof storedSchema>;

const placeOf = (id: string, volume: string) => `${id}/${encodeURIComponent(volume)}/`;
const digits = (number: number) => String(number).padStart(DIGITS, "0");
const factsKey = (id: string, volume: string, version: number) => `${FACTS}${placeOf(id, volume)}${digits(version)}`;
const pieceKey = (id: string, volume: string, { version, copy }: Omit<Pieces, "pieces">, piece: number) =>
  `${DATA}${placeOf(id, volume)}${digits(version)}${copy === 0 ? "" : `.${copy}`}/${digits(piece)}`;
const pendingKey = (id: string, volume: string) => `${PENDING}${placeOf(id, volume)}`;

/** What is called while a header is encrypted anew: once the new ciphertext is on disk, and once it counts. */
export interface SealingSteps {
  readonly written?: () => void;
  readonly switched?: () => void;
}

/** LUKS headers in the store: encrypted, in pieces, versioned; a write that was cut off leaves nothing that counts. */
export class HeaderStore {
  readonly #store: Store;
  readonly #vault: Vault;

  constructor(store: Store, vault: Vault) {
    this.#store = store;
    this.#vault = vault;
  }

  /** What is kept of one volume, or of all of a host's (volume left out), or of all; newest first within each. */
  async list(id?: string, volume?: string): Promise<readonly (StoredHeader & { readonly id: string })[]> {
    const prefix =
      id === undefined ? FACTS : volume === undefined ? `${FACTS}${id}/` : `${FACTS}${placeOf(id, volume)}`;
    const entries = await this.#store.list(prefix);
    const all = entries.map((entry) => ({ ...decodeRecord(storedSchema, entry), id: entry.key.split("/")[1] ?? "" }));
    return all.toSorted(
      (a, b) => compare(a.id, b.id) || compare(a.volume, b.volume) || b.at - a.at || b.version - a.version,
    );
  }

  /**
   * Encrypts and writes a header, and reads it back before it counts: `commit` gets the change that makes it so. Throws
   * HostError `header-not-durable`.
   */
  async add(
    id: string,
    facts: Omit<EscrowedHeader, "version">,
    bytes: Buffer,
    commit: (header: StoredHeader, changes: readonly Change[]) => Promise<void>,
  ): Promise<StoredHeader> {
    const { volume } = facts;
    await this.#removeCutOff(id, volume);
    const newest = (await this.list(id, volume)).reduce((most, { version }) => Math.max(most, version), 0);
    const version = newest + 1;
    const header = await this.#writePieces(id, { ...facts, version, copy: 0 }, bytes);
    await commit(header, [
      putRecord(factsKey(id, volume, version), header, { ifRevision: 0 }),
      { op: "delete", key: pendingKey(id, volume) },
    ]);
    return header;
  }

  /**
   * Encrypts a header anew, to the recipients of now: beside the ciphertext that counts, read back, then put in its place in
   * one write. Cut off anywhere, the header reads as before. `written` is called once the new ciphertext is there, `switched`
   * once it counts. Throws HostError `header-not-durable`.
   */
  async sealAnew(id: string, header: StoredHeader, { written, switched }: SealingSteps = {}): Promise<void> {
    const { volume, version } = header;
    await this.#removeCutOff(id, volume);
    const bytes = await this.read(id, header);
    try {
      const next = await this.#writePieces(id, { ...plain(header), copy: header.copy + 1 }, bytes);
      written?.();
      await this.#store.write([
        putRecord(factsKey(id, volume, version), next),
        putRecord(pendingKey(id, volume), piecesOf(header)),
      ]);
      switched?.();
    } finally {
      bytes.fill(0);
    }
    await this.#removeCutOff(id, volume);
  }

  /** The name of the recipients that headers are encrypted to now. */
  get recipients(): string {
    return this.#vault.recipientSet;
  }

  /** Writes encrypted pieces that do not count yet, and reads them back; the header as it will count. */
  async #writePieces(
    id: string,
    facts: Omit<StoredHeader, "pieces" | "recipients">,
    bytes: Buffer,
  ): Promise<StoredHeader> {
    // named before: the master's identity may be replaced meanwhile
    const recipients = this.#vault.recipientSet;
    const sealed = await this.#vault.seal(bytes);
    const pieces = Math.ceil(sealed.length / PIECE_BYTES);
    const header: StoredHeader = { ...facts, pieces, recipients };
    await this.#store.write([putRecord(pendingKey(id, header.volume), piecesOf(header))]);
    for (let piece = 0; piece < pieces; piece += 1) {
      const value = sealed.subarray(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES);
      await this.#store.write([{ op: "put", key: pieceKey(id, header.volume, header, piece), value }]);
    }
    const back = await this.read(id, header);
    back.fill(0);
    return header;
  }

  /** Takes away what a write that was cut off has left. */
  async #removeCutOff(id: string, volume: string): Promise<void> {
    const cutOff = await this.#store.get(pendingKey(id, volume));
    if (cutOff) await this.#removePieces(id, volume, decodeRecord(pendingSchema, cutOff));
  }

  /** The bytes of a header; the caller wipes them. Throws HostError `header-not-durable` when they are not what they were. */
  async read(id: string, header: StoredHeader): Promise<Buffer> {
    const { volume, version, pieces, digest } = header;
    const parts: Uint8Array[] = [];
    for (let piece = 0; piece < pieces; piece += 1) {
      const entry = await this.#store.get(pieceKey(id, volume, header, piece));
      if (entry) parts.push(entry.value);
    }
    const bytes = await this.#vault.open(Buffer.concat(parts), MAX_HEADER_BYTES);
    if (sha256(bytes).toString("hex") === digest) return bytes;
    throw new HostError("header-not-durable", `cannot rely on the store: header ${version} of "${volume}" of "${id}"`, {
      hint: "look at the disk that holds the master's state_dir",
    });
  }

  /** Writes changed facts of a header that is there. */
  async update(id: string, header: StoredHeader): Promise<void> {
    await this.#store.write([putRecord(factsKey(id, header.volume, header.version), plain(header))]);
  }

  /** The change that writes changed facts, for another atomic write. */
  updating(id: string, header: StoredHeader): Change {
    return putRecord(factsKey(id, header.volume, header.version), plain(header));
  }

  /** Forgets headers: first that they are there, then their bytes. */
  async remove(id: string, headers: readonly StoredHeader[]): Promise<void> {
    for (const header of headers) {
      const { volume, version } = header;
      await this.#removeCutOff(id, volume);
      await this.#store.write([
        { op: "delete", key: factsKey(id, volume, version) },
        putRecord(pendingKey(id, volume), piecesOf(header)),
      ]);
      await this.#removeCutOff(id, volume);
    }
  }

  /**
   * Destroys everything of a volume, damaged, cut off or not: by its place alone, nothing of it is read. The facts go last,
   * so that what is cut short is still there to be gone on with.
   */
  async destroy(id: string, volume: string): Promise<void> {
    for (const prefix of [DATA, PENDING, FACTS]) {
      // a few at a time: they are half a megabyte each
      for (;;) {
        const entries = await this.#store.list(`${prefix}${placeOf(id, volume)}`, { limit: 8 });
        if (entries.length === 0) break;
        for (const { key } of entries) await this.#store.write([{ op: "delete", key }]);
      }
    }
  }

  /** How many headers of a volume there are, readable or not. */
  async count(id: string, volume: string): Promise<number> {
    return (await this.#store.list(`${FACTS}${placeOf(id, volume)}`)).length;
  }

  async #removePieces(id: string, volume: string, pending: Pieces): Promise<void> {
    for (let piece = 0; piece < pending.pieces; piece += 1) {
      await this.#store.write([{ op: "delete", key: pieceKey(id, volume, pending, piece) }]);
    }
    await this.#store.write([{ op: "delete", key: pendingKey(id, volume) }]);
  }
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

const piecesOf = ({ version, pieces, copy }: Pieces): Pieces => ({ version, pieces, copy });

/** Without what was added by listing. */
function plain(header: StoredHeader): StoredHeader {
  return storedSchema.parse(Object.fromEntries(Object.entries(header).filter(([key]) => key !== "id")));
}
