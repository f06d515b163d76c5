import { errorMessage, TransportError } from "../core/errors.ts";
import { fingerprint, type PublicIdentity } from "../core/identity.ts";
import { acceptancePollMs, backoffMs } from "./backoff.ts";
import { Drops } from "./drop-counters.ts";
import type {
  ConnectionState,
  DropCounters,
  MasterAddress,
  MasterConnection,
  MasterConnectionOptions,
} from "./endpoints.ts";
import type { Method, Request, Response } from "./messages.ts";
import { type LinkEnd, type LiveLink, MinionLink } from "./minion-link.ts";
import { MinionSession } from "./minion-session.ts";
import { JobInbox } from "./job-inbox.ts";
import { Resolver } from "./resolver.ts";
import { MasterPin } from "./trust.ts";

/**
 * Starts to connect to the first master that answers and can be believed; see MasterConnection for what follows. Throws
 * ConfigError `bad-fingerprint`.
 */
export function connectMaster(options: MasterConnectionOptions): MasterConnection {
  const connection = new Connection(options);
  connection.start();
  return connection;
}

const REQUEST_TIMEOUT_MS = 15_000;
/** How long a session must have lasted to count as one that worked: whom the master sends away at once must not knock faster. */
const STEADY_MS = 3000;

class Connection implements MasterConnection {
  readonly #options: MasterConnectionOptions;
  readonly #pin: MasterPin;
  readonly #drops = new Drops();
  readonly #resolver: Resolver;
  readonly #inbox: JobInbox | undefined;
  readonly #stop = new AbortController();
  #state: ConnectionState;
  #session: MinionSession | undefined;
  #ready = Promise.withResolvers<void>();
  #leaseRetry = Promise.withResolvers<void>();
  #running: Promise<void> = Promise.resolve();
  // rounds over the list of masters since the last session that worked
  #failures = 0;
  #greetedAt: number | undefined;
  #waitingSince: number | undefined;

  constructor(options: MasterConnectionOptions) {
    const { clock, jobs, handlers, report } = options;
    this.#options = options;
    this.#pin = new MasterPin(options.trust);
    this.#resolver = new Resolver(clock);
    this.#state = { kind: "connecting", address: nameOf(options.masters[0]), attempt: 1 };
    this.#ready.promise.catch(() => {});
    const deliver = handlers.job.bind(handlers);
    this.#inbox = jobs && new JobInbox({ position: jobs, drops: this.#drops, deliver, report });
  }

  start(): void {
    this.#running = this.#run().catch((error: unknown) => {
      this.#options.report("cannot go on connecting", error);
    });
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get handshakeHash(): Uint8Array {
    return this.#live().handshakeHash;
  }

  get master(): PublicIdentity {
    return this.#live().master;
  }

  get leaseRetry(): Promise<void> {
    return this.#leaseRetry.promise;
  }

  async ready(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (!signal) return this.#ready.promise;
    const aborted = Promise.withResolvers<never>();
    const abort = () => {
      aborted.reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([this.#ready.promise, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  async request<M extends Method>(
    method: M,
    body: Request<M>,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Response<M>> {
    return this.#live().request(method, body, options.timeoutMs ?? REQUEST_TIMEOUT_MS, options.signal);
  }

  drops(): DropCounters {
    return this.#drops.snapshot();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#ready.reject(new TransportError("closed", "cannot connect: the connection was closed"));
  }

  #retryLeases(): void {
    this.#leaseRetry.resolve();
    this.#leaseRetry = Promise.withResolvers();
  }

  #live(): MinionSession {
    if (this.#session) return this.#session;
    throw new TransportError("not-connected", "cannot reach the master: there is no session");
  }

  async #run(): Promise<void> {
    const { masters } = this.#options;
    const { signal } = this.#stop;
    let at = 0;
    while (!signal.aborted) {
      const address = masters[at % masters.length] ?? masters[0];
      const end = await this.#tried(address);
      if (end.kind !== "lost") at += 1;
      const round = at % masters.length === 0;
      if (!signal.aborted) await this.#pause(address, end, round);
    }
  }

  /** One session with one master, at the first of its addresses that answers; IK first if its key is known, then XX. */
  async #attempt(address: MasterAddress): Promise<LinkEnd> {
    if (this.#state.kind !== "waiting-for-acceptance") {
      this.#become({ kind: "connecting", address: nameOf(address), attempt: this.#failures + 1 });
    }
    const hosts = await this.#resolve(address.host);
    if ("kind" in hosts) return hosts;
    let end: LinkEnd = { kind: "unreachable", reason: "it has no address" };
    for (const host of hosts) {
      const at = { ...address, host };
      // who was refused is not known by its keys yet: IK would only be refused once more
      const isWaiting = this.#state.kind === "waiting-for-acceptance";
      end = await this.#link(at, address, isWaiting ? undefined : this.#pin.known);
      if (end.kind === "try-xx") end = await this.#link(at, address, undefined);
      if (end.kind !== "unreachable") return end;
    }
    return end;
  }

  /** Asked anew for each attempt: a master may have moved. */
  async #resolve(host: string): Promise<readonly string[] | LinkEnd> {
    const { signal } = this.#stop;
    try {
      return await this.#resolver.resolve(host, signal);
    } catch (error) {
      if (signal.aborted) return { kind: "lost", reason: "we stop" };
      if (!(error instanceof TransportError)) throw error;
      return { kind: "unreachable", reason: error.message };
    }
  }

  async #link(at: MasterAddress, address: MasterAddress, known: PublicIdentity | undefined): Promise<LinkEnd> {
    const { minionId, identity, clock, tickets } = this.#options;
    const link = new MinionLink({
      address: at,
      minionId,
      identity,
      pin: this.#pin,
      known,
      clock,
      drops: this.#drops,
      ticket: known && tickets.of(known),
      ticketed: (master, ticket) => {
        tickets.keep(master, ticket);
      },
      live: (live) => {
        this.#begin(address, live);
      },
      packet: (packet) => {
        this.#session?.receive(packet);
      },
    });
    return this.#over(await link.run(this.#stop.signal));
  }

  /** An attempt. One that fails by a mistake of ours is told of and made again, like any other: a minion never gives up. */
  async #tried(address: MasterAddress): Promise<LinkEnd> {
    try {
      return await this.#attempt(address);
    } catch (error) {
      this.#options.report("an attempt to connect failed", error);
      return this.#over({ kind: "unreachable", reason: errorMessage(error) });
    }
  }

  /** Whatever session there was has ended. */
  #over(end: LinkEnd): LinkEnd {
    const { clock } = this.#options;
    if (this.#session) {
      if (this.#greetedAt !== undefined && clock.monotonicMs() - this.#greetedAt >= STEADY_MS) this.#failures = 0;
      this.#greetedAt = undefined;
      this.#session.end(end.kind === "lost" ? end.reason : end.kind);
      this.#session = undefined;
      this.#ready = Promise.withResolvers();
      this.#ready.promise.catch(() => {});
    }
    return end;
  }

  #begin(address: MasterAddress, live: LiveLink): void {
    const { clock } = this.#options;
    const session = new MinionSession({
      live,
      clock,
      drops: this.#drops,
      inbox: this.#inbox,
      leaseRetry: () => {
        this.#retryLeases();
      },
      ticket: (ticket) => {
        this.#options.tickets.keep(live.master, ticket);
      },
    });
    this.#session = session;
    this.#waitingSince = undefined;
    this.#become({ kind: "connected", address: nameOf(address) });
    void this.#greet(session, live);
  }

  async #greet(session: MinionSession, live: LiveLink): Promise<void> {
    try {
      await this.#options.handlers.connected();
      if (this.#session !== session) return;
      this.#greetedAt = this.#options.clock.monotonicMs();
      this.#ready.resolve();
      this.#retryLeases();
    } catch (error) {
      if (this.#session !== session) return;
      this.#options.report("cannot begin the session", error);
      live.end("the session could not begin");
    }
  }

  /** Says how the attempt ended, and waits as long as that deserves. */
  async #pause(address: MasterAddress, end: LinkEnd, round: boolean): Promise<void> {
    const { random, clock } = this.#options;
    let retryMs = round || end.kind === "lost" ? backoffMs(this.#failures, random()) : 0;
    if (round || end.kind === "lost") this.#failures += 1;
    if (end.kind === "refused") {
      const now = clock.monotonicMs();
      this.#waitingSince ??= now;
      retryMs = round ? acceptancePollMs(now - this.#waitingSince, random()) : 0;
      const ours = fingerprint(this.#options.identity.public);
      this.#become({ kind: "waiting-for-acceptance", address: nameOf(address), fingerprint: ours });
    } else if (end.kind === "wrong-master") {
      this.#become({ ...end, address: nameOf(address) });
    } else {
      const reason = end.kind === "try-xx" ? "the master cannot read our handshake" : end.reason;
      this.#become({ kind: "disconnected", reason, retryMs });
    }
    try {
      await clock.sleep(retryMs, this.#stop.signal);
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
  }

  #become(state: ConnectionState): void {
    if (JSON.stringify(state) === JSON.stringify(this.#state) && state.kind !== "connecting") return;
    this.#state = state;
    this.#options.handlers.stateChanged(state);
  }
}

function nameOf(address: MasterAddress): string {
  return `${address.host}:${address.returnPort}`;
}
