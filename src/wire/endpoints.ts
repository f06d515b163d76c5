import type { Clock } from "../core/clock.ts";
import type { Identity, PublicIdentity } from "../core/identity.ts";
import type { LimitHit } from "./limit-alarms.ts";
import type { Job, Method, Notice, Request, Response, SignedEpoch } from "./messages.ts";

/** Whether a peer that has proven its identity may open a session. Refused peers all get the same constant answer (I6). */
export type Admission = "accept" | "refuse";

/** A live session at the master. */
export interface PeerSession {
  /** Unique for the life of the master process. */
  readonly sessionId: number;
  readonly minionId: string;
  readonly peer: PublicIdentity;
  /** The peer's IP address as the socket saw it (IPv4 never as IPv6). There is no session without one. */
  readonly address: string;
  readonly handshakeHash: Uint8Array;
  readonly openedAt: number;
  /** Sends a notice, a large one until it has left this machine's memory; false when the transport knows that the peer is gone. */
  notify(notice: Notice): Promise<boolean>;
  /** Ends the session at once, with a `close` notice if it can be sent. */
  close(): void;
}

/** What the master's rooms plug into the wire. */
export interface MasterHandlers {
  /**
   * The keys that may open sessions as `minionId`, undefined when none may. Asked for openings that may be replays: it must
   * change nothing.
   */
  holder(minionId: string): PublicIdentity | undefined;
  /**
   * Called when a peer that is not (yet) the holder has answered a key made for this very handshake, so that it is there
   * now; records unknown peers as pending. Must not throw for a bad peer.
   */
  admit(minionId: string, peer: PublicIdentity, address: string): Promise<Admission>;
  /** A validated request on a live session. What it throws is reported; the peer learns `refused` for an AuthError and
   * `failed` for all else, never why. */
  request<M extends Method>(session: PeerSession, method: M, body: Request<M>): Promise<Response<M>>;
  opened(session: PeerSession): void;
  closed(session: PeerSession): void;
}

/** What `listenMaster` needs. */
export interface MasterEndpointOptions {
  readonly identity: Identity;
  /** Address to bind, `0.0.0.0` for all. */
  readonly interface: string;
  /** 0 for any free port. */
  readonly returnPort: number;
  readonly handlers: MasterHandlers;
  readonly clock: Clock;
  /** Gets what handlers throw, and frames that were dropped when the reason is worth a line. */
  readonly report: (message: string, error: unknown) => void;
  /** Gets limits that were hit, each at most once a minute. */
  readonly limited: (hit: LimitHit) => void;
}

/** Frames dropped since start, by reason (garbage, oversized, replayed, unknown session, bad schema ...). */
export type DropCounters = Readonly<Record<string, number>>;

/** Connections to the request channel: those with a session, those without, and how many there may be. */
export interface ConnectionCounts {
  readonly sessions: number;
  readonly strangers: number;
  readonly most: number;
}

/** The master's socket, bound. */
export interface MasterEndpoint {
  readonly returnPort: number;
  /** Live sessions, several of one minion id among them (an agent and one-off calls). */
  sessions(): Iterable<PeerSession>;
  /**
   * Ends every session of a minion id at once, and every handshake of it that has not become one: call it when the handlers
   * admit it no more.
   */
  disconnect(minionId: string): void;
  drops(): DropCounters;
  connections(): ConnectionCounts;
  close(): Promise<void>;
}

/** Where a minion's connection stands, in words an operator can read. */
export type ConnectionState =
  | { readonly kind: "connecting"; readonly address: string; readonly attempt: number }
  | { readonly kind: "waiting-for-acceptance"; readonly address: string; readonly fingerprint: string }
  | { readonly kind: "wrong-master"; readonly address: string; readonly expected: string; readonly found: string }
  | { readonly kind: "connected"; readonly address: string }
  | { readonly kind: "disconnected"; readonly reason: string; readonly retryMs: number };

/** One master of a minion's list. */
export interface MasterAddress {
  readonly host: string;
  readonly returnPort: number;
}

/**
 * Which master a minion believes. With fingerprints: only one of those. Else with known identities: only one of those.
 * Else, and only if `firstUse` is set, the first that answers. `remember` keeps a master seen for the first time; it is
 * awaited before the minion says who it is.
 */
export interface MasterTrust {
  readonly fingerprints: readonly string[];
  readonly known: readonly PublicIdentity[];
  readonly firstUse: boolean;
  remember(master: PublicIdentity): Promise<void>;
}

/** Where a minion is in each master's sequence of jobs (I7). */
export interface JobPosition {
  /** Highest sequence number of this master that was handed out before; 0 for none. */
  lastSeq(master: PublicIdentity): number;
  /** Keeps a number on disk; awaited before the job with that number is handed out, so that none runs twice. */
  saveSeq(master: PublicIdentity, seq: number): Promise<void>;
  /** The newest epoch of this master that is kept; undefined for none. */
  epoch(master: PublicIdentity): SignedEpoch | undefined;
  /** Keeps an epoch on disk; awaited before a number of it is kept, so that this host can prove what it claims. */
  saveEpoch(master: PublicIdentity, signed: SignedEpoch): Promise<void>;
}

/** Tickets that masters have given (see opening-ticket.ts), which spare a minion the queue of strangers. No secrets. */
export interface MasterTickets {
  of(master: PublicIdentity): Uint8Array | undefined;
  /** Keeps a newer one. Must not throw; a lost one costs time while the master has load, no more. */
  keep(master: PublicIdentity, ticket: Uint8Array): void;
}

/** What `connectMaster` needs. */
export interface MasterConnectionOptions {
  /** Tried in this order, over and over. */
  readonly masters: readonly [MasterAddress, ...MasterAddress[]];
  readonly minionId: string;
  readonly identity: Identity;
  readonly trust: MasterTrust;
  readonly tickets: MasterTickets;
  /** undefined: takes no jobs (a one-off call). */
  readonly jobs: JobPosition | undefined;
  readonly handlers: MinionHandlers;
  readonly clock: Clock;
  /** For jitter: 0 to below 1. */
  readonly random: () => number;
  /** Gets what handlers throw. */
  readonly report: (message: string, error: unknown) => void;
}

/** A minion's connection: keeps itself up for ever, with backoff and jitter, over the list of masters. */
export interface MasterConnection {
  readonly state: ConnectionState;
  /** Of the live session; throws TransportError when there is none. */
  readonly handshakeHash: Uint8Array;
  readonly master: PublicIdentity;
  /** Resolves when connected. */
  ready(signal?: AbortSignal): Promise<void>;
  /**
   * One request, one answer. Throws TransportError when the session is down or `timeoutMs` (default 15,000) passes,
   * AuthError when the master refuses (its handler threw an AuthError).
   */
  request<M extends Method>(
    method: M,
    body: Request<M>,
    options?: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<Response<M>>;
  /**
   * Resolves when a held lease may be asked for again: the master says so, or there is a new session. Take it before
   * asking, so that nothing is missed.
   */
  readonly leaseRetry: Promise<void>;
  drops(): DropCounters;
  close(): Promise<void>;
}

/** What the minion's rooms plug into the wire. */
export interface MinionHandlers {
  /**
   * After each new session: sends `hello`. The connection reads from the answers to `hello` and `heartbeat` itself whether jobs
   * were missed, and fetches them.
   */
  connected(): Promise<void>;
  stateChanged(state: ConnectionState): void;
  /** A job: signature proven, numbered later than all before (I7); the wire has not looked at its target. */
  job(job: Job): void;
}
