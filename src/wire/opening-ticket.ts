import { randomBytes } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import { equalBytes, hmacSha256 } from "../core/crypto/hash.ts";
import { type Identity, packPublicIdentity, PUBLIC_IDENTITY_BYTES, type PublicIdentity } from "../core/identity.ts";
import { TICKET_BYTES } from "./limits.ts";

const TIME_BYTES = 4;
/** How long a ticket is worth something; a live session gets a new one long before. */
const VALID_SECONDS = 14 * 86_400;
/** After so long a live session gets a new ticket, and a minion puts one on disk in place of an older one. */
export const TICKET_RENEWAL_MS = 86_400_000;
/** A master whose clock was set back still knows its own. */
const AHEAD_SECONDS = 300;
const LABEL = Buffer.from("latchkey ticket v1\0", "latin1");

/**
 * Tickets by which a host that had a session is told from garbage at the price of one MAC: time of issue ‖ MAC over it, the
 * minion's id and its accepted keys. A ticket gives priority and never trust: it is sent in clear, and whoever has it still
 * has to prove its keys. Rejected, deleted or replaced keys end it; a restart of the master does not.
 */
export class OpeningTickets {
  readonly #key: Buffer;
  readonly #clock: Pick<Clock, "now">;

  constructor(identity: Pick<Identity, "derive">, clock: Pick<Clock, "now">) {
    using key = identity.derive("opening tickets");
    this.#key = Buffer.from(key.expose());
    this.#clock = clock;
  }

  /** A ticket for a minion whose keys are accepted. */
  issue(minionId: string, holder: PublicIdentity): Buffer {
    const time = Buffer.alloc(TIME_BYTES);
    time.writeUInt32BE(this.#seconds());
    return Buffer.concat([time, this.#mac(time, minionId, holder)]);
  }

  /** Whether it was issued to this minion and these keys, lately. Takes as long for an id that nobody holds (I6). */
  check(ticket: Uint8Array, minionId: string, holder: PublicIdentity | undefined): boolean {
    if (ticket.length !== TICKET_BYTES) return false;
    const bytes = Buffer.from(ticket);
    const time = bytes.subarray(0, TIME_BYTES);
    const isMade = equalBytes(this.#mac(time, minionId, holder), bytes.subarray(TIME_BYTES));
    const age = this.#seconds() - time.readUInt32BE();
    return isMade && holder !== undefined && age <= VALID_SECONDS && age >= -AHEAD_SECONDS;
  }

  #seconds(): number {
    return Math.max(0, Math.floor(this.#clock.now() / 1000));
  }

  #mac(time: Uint8Array, minionId: string, holder: PublicIdentity | undefined): Buffer {
    const keys = holder ? packPublicIdentity(holder) : Buffer.alloc(PUBLIC_IDENTITY_BYTES);
    const text = Buffer.concat([LABEL, time, keys, Buffer.from(minionId, "latin1")]);
    return hmacSha256(this.#key, text).subarray(0, TICKET_BYTES - TIME_BYTES);
  }
}

/** What a refused peer gets in its place: nobody but the master can tell it from a ticket. */
export function noTicket(): Buffer {
  return randomBytes(TICKET_BYTES);
}

/** When a ticket was issued, in milliseconds of the master's clock; undefined for what is none. */
export function ticketTime(ticket: Uint8Array): number | undefined {
  return ticket.length === TICKET_BYTES ? Buffer.from(ticket).readUInt32BE() * 1000 : undefined;
}
