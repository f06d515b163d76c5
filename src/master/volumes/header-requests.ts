import { randomBytes } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { ProtocolError, TransportError } from "../../core/errors.ts";
import {
  type EscrowedHeader,
  HEADER_CHUNK_BYTES,
  type HeaderFacts,
  MAX_HEADER_BYTES,
  MAX_HEADERS,
} from "../../core/volume-header.ts";
import type { PeerSession } from "../../wire/endpoints.ts";
import type { Request, Response } from "../../wire/messages.ts";
import { Throttle } from "../leases/throttle.ts";
import type { Headers } from "./headers.ts";

/** Headers on their way in: bytes in all and of one host, and how long one may take. */
const MAX_BYTES = 256 * 1024 * 1024;
const MAX_HOST_BYTES = 2 * MAX_HEADER_BYTES;
const EXPIRES_MS = 120_000;
/** One of which no piece came for so long makes room when there is none. */
const IDLE_MS = 5000;
/** Headers on their way out that are held open. */
const MAX_DOWNLOADS = 8;
/** Headers of one host that are taken in at once, then one in so many milliseconds. */
const PER_HOST = { burst: 300, everyMs: 10_000 };

interface Upload {
  readonly id: string;
  readonly facts: HeaderFacts;
  readonly bytes: Buffer;
  readonly expiresAt: number;
  received: number;
  /** When the last piece came. */
  heardAt: number;
}

/** The part of the escrow that minions reach. */
export type HeaderEscrow = Pick<Headers, "add" | "known" | "list" | "release">;

/** The newest stored version, of the key of a volume that a host's pillar declares, that was set aside; 0 when it cannot be told. */
export type ForgottenThrough = (id: string, volume: string) => Promise<number>;

/** Whether every version of the key that is known to open a header was set aside. */
function isForgotten({ proven, slots }: EscrowedHeader, through: number): boolean {
  const known = [proven, ...slots].flatMap(({ version }) => (version > 0 ? [version] : []));
  return known.length > 0 && known.every((version) => version <= through);
}

const bytesOf = (uploads: readonly Upload[]) => uploads.reduce((sum, { bytes }) => sum + bytes.length, 0);

type Peer = Pick<PeerSession, "minionId" | "address">;

/** What minions ask of the escrow, piece by piece; everything by the session's own id, all of it bounded. */
export class HeaderRequests {
  readonly #headers: HeaderEscrow;
  readonly #forgottenThrough: ForgottenThrough;
  readonly #clock: Clock;
  readonly #throttle: Throttle;
  readonly #uploads = new Map<string, Upload>();
  readonly #downloads = new Map<string, Buffer>();

  constructor(headers: HeaderEscrow, clock: Clock, forgottenThrough: ForgottenThrough) {
    this.#headers = headers;
    this.#forgottenThrough = forgottenThrough;
    this.#clock = clock;
    this.#throttle = new Throttle(PER_HOST.burst, PER_HOST.everyMs, clock);
  }

  /** Throws TransportError `busy` when too much is under way: the host comes again. */
  async offer({ minionId: id }: Peer, { facts }: Request<"header.offer">): Promise<Response<"header.offer">> {
    const version = await this.#headers.known(id, facts);
    if (version !== undefined) return { verdict: "known", version };
    this.#dropOld(id, facts.volume);
    const own = this.#bytesOf(id) + facts.bytes;
    if (own > MAX_HOST_BYTES || this.#throttle.take(id) === undefined || !this.#makeRoom(own, facts.bytes)) {
      throw new TransportError("busy", `cannot take a header of "${id}" now: too much is under way`);
    }
    const upload = randomBytes(16).toString("hex");
    const bytes = Buffer.alloc(facts.bytes);
    const now = this.#clock.now();
    this.#uploads.set(upload, { id, facts, bytes, received: 0, heardAt: now, expiresAt: now + EXPIRES_MS });
    return { verdict: "send", upload };
  }

  async chunk(peer: Peer, { upload, offset, data }: Request<"header.chunk">): Promise<Response<"header.chunk">> {
    const found = this.#find(peer, upload);
    if (offset !== found.received || offset + data.length > found.bytes.length) {
      throw new ProtocolError("bad-header", `cannot take a header of "${peer.minionId}": a piece is out of place`);
    }
    found.bytes.set(data, offset);
    found.received += data.length;
    found.heardAt = this.#clock.now();
    return {};
  }

  async store(peer: Peer, { upload }: Request<"header.store">): Promise<Response<"header.store">> {
    const { facts, bytes, received } = this.#find(peer, upload);
    this.#uploads.delete(upload);
    if (received !== bytes.length) {
      throw new ProtocolError("bad-header", `cannot keep a header of "${peer.minionId}": pieces are missing`);
    }
    return { version: await this.#headers.add(peer.minionId, facts, bytes, peer.address) };
  }

  async list({ minionId: id }: Peer, { volume }: Request<"header.list">): Promise<Response<"header.list">> {
    const all = await this.#headers.list(id, volume);
    const through = all.length === 0 ? 0 : await this.#forgottenThrough(id, volume);
    return {
      headers: all.slice(0, MAX_HEADERS).map(({ id: _id, ...header }) => {
        return isForgotten(header, through) ? { ...header, forgotten: true } : header;
      }),
    };
  }

  async get(
    { minionId: id, address }: Peer,
    { volume, version, offset }: Request<"header.get">,
  ): Promise<Response<"header.get">> {
    const place = `${id}/${volume}/${version}`;
    const bytes =
      (offset === 0 ? undefined : this.#downloads.get(place)) ??
      (await this.#open(place, async () => this.#headers.release(id, volume, version, address)));
    if (bytes === undefined) return { found: false, data: new Uint8Array(), eof: true };
    const data = Uint8Array.from(bytes.subarray(offset, offset + HEADER_CHUNK_BYTES));
    const eof = offset + data.length >= bytes.length;
    if (eof) this.#close(place);
    return { found: true, data, eof };
  }

  async #open(place: string, release: () => Promise<Buffer | undefined>): Promise<Buffer | undefined> {
    this.#close(place);
    const [oldest] = this.#downloads.keys();
    if (oldest !== undefined && this.#downloads.size >= MAX_DOWNLOADS) this.#close(oldest);
    const bytes = await release();
    if (bytes) this.#downloads.set(place, bytes);
    return bytes;
  }

  #close(place: string): void {
    this.#downloads.get(place)?.fill(0);
    this.#downloads.delete(place);
  }

  #bytesOf(id: string): number {
    return bytesOf([...this.#uploads.values()].filter((upload) => upload.id === id));
  }

  /**
   * Room for so many bytes more of a host that then has `own`: what is idle goes, or the oldest of the host that has most, when
   * that is more. So a few hosts cannot keep all others out by announcing what they never send.
   */
  #makeRoom(own: number, bytes: number): boolean {
    while (bytesOf([...this.#uploads.values()]) + bytes > MAX_BYTES) {
      const now = this.#clock.now();
      const all = [...this.#uploads];
      const most = Math.max(...all.map(([, { id }]) => this.#bytesOf(id)));
      const [victim] =
        all.find(([, { heardAt }]) => now - heardAt >= IDLE_MS) ??
        all.find(([, { id }]) => most > own && this.#bytesOf(id) === most) ??
        [];
      if (victim === undefined) return false;
      this.#uploads.delete(victim);
    }
    return true;
  }

  #find({ minionId: id }: Peer, name: string): Upload {
    const upload = this.#uploads.get(name);
    if (upload?.id === id && upload.expiresAt > this.#clock.now()) return upload;
    throw new ProtocolError("bad-header", `cannot take a header of "${id}": it was not announced, or too long ago`);
  }

  /** One upload a volume; those that took too long go. */
  #dropOld(id: string, volume: string): void {
    for (const [name, upload] of this.#uploads) {
      const isReplaced = upload.id === id && upload.facts.volume === volume;
      if (!isReplaced && upload.expiresAt > this.#clock.now()) continue;
      upload.bytes.fill(0);
      this.#uploads.delete(name);
    }
  }
}
