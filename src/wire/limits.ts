/** The one protocol version spoken; part of every frame and of the handshake's prologue. */
export const PROTOCOL_VERSION = 1;

/** Most bytes of one frame; a peer that sends more is cut off. */
export const MAX_FRAME_BYTES = 8 * 1024 * 1024;

/**
 * Most items (values, keys of maps among them) of one message of a minion: a state run of thousands of states has fewer,
 * and a message of more would keep the master from everything else while it is decoded.
 */
export const MAX_ITEMS = 200_000;

/** Most items of one message of the master, which lists every file of its roots. */
export const MAX_MASTER_ITEMS = 1_000_000;

/** Handshakes begun and not finished that the master keeps at most; the oldest leave first. */
export const MAX_HALF_OPEN = 4096;

/** What an opening may carry besides its Noise message: see opening-ticket.ts and opening-cookie.ts. */
export const TICKET_BYTES = 20;
export const COOKIE_BYTES = 16;

/** How long the master keeps a handshake that is not finished. */
export const HALF_OPEN_MS = 10_000;

/** Live sessions of one minion (one of its agent, the rest of calls by hand) from which on silent ones make room. */
export const CROWD_OF_MINION = 8;

/** Live sessions of one minion that the master keeps at most. */
export const MAX_SESSIONS_OF_MINION = 64;

/** Requests of one session that the master works on at once; more are answered `busy`. */
export const MAX_REQUESTS_IN_FLIGHT = 64;

/** Refusals leave the master at multiples of this, so that their timing tells nothing (I6). */
export const REFUSAL_TICK_MS = 100;

/** A session from which nothing came for this long may have to make room for another of its minion. */
export const IDLE_AFTER_MS = 5000;

/** A session from which nothing came for this long is over. */
export const SILENCE_MS = 120_000;

/** A minion's ZMTP heartbeats: a dead master is noticed within interval plus timeout. */
export const HEARTBEAT_INTERVAL_MS = 3000;
export const HEARTBEAT_TIMEOUT_MS = 4000;

/** Most bytes of a job's envelope: it goes out in one frame. */
export const MAX_JOB_BYTES = MAX_FRAME_BYTES - 64 * 1024;

/** Bytes of a job that are sealed for hosts at once, at most; more wait until the transport has taken some. */
export const FAN_OUT_BYTES = 16 * 1024 * 1024;

/** Hosts that get a small job before all else has its turn. */
export const FAN_OUT_BATCH = 64;

/** How long the hosts behind wait for one that takes nothing. */
export const FAN_OUT_PATIENCE_MS = 1000;
