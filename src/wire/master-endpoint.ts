import { Drops } from "./drop-counters.ts";
import type { MasterEndpoint, MasterEndpointOptions, PeerSession } from "./endpoints.ts";
import { decodeFrame, encodeHint, type Frame } from "./frames.ts";
import { type Admitted, HandshakeDesk } from "./handshake-desk.ts";
import { SILENCE_MS } from "./limits.ts";
import { LiveSession, type SessionHost } from "./live-session.ts";
import { LiveSessions } from "./live-sessions.ts";
import { OpeningTickets, TICKET_RENEWAL_MS } from "./opening-ticket.ts";
import { Reception } from "./reception.ts";
import { RequestBudget } from "./request-budget.ts";
import { Turns } from "./turns.ts";
import { LimitAlarms } from "./limit-alarms.ts";
import type { CutOff } from "./zmtp/cut-off.ts";
import { boundsFor, descriptorLimit } from "./zmtp/descriptors.ts";
import { bindRouter } from "./zmtp/listener.ts";
import type { Route, RouterPort } from "./zmtp/router-port.ts";

const SWEEP_MS = 1000;
/** Frames up to here wait in their queue; of larger ones the sender hears when they have left. */
const SMALL_FRAME_BYTES = 4096;

/** Binds the master's socket. Throws TransportError `cannot-bind`. */
export async function listenMaster(options: MasterEndpointOptions): Promise<MasterEndpoint> {
  const desk = new RequestDesk(options);
  const bounds = boundsFor(descriptorLimit());
  const router = await bindRouter(options.interface, options.returnPort, desk, { clock: options.clock, bounds });
  desk.start(router);
  return endpoint(desk, router);
}

function endpoint(desk: RequestDesk, router: RouterPort): MasterEndpoint {
  return {
    returnPort: router.port,
    sessions: () => desk.sessions(),
    disconnect: (minionId) => {
      desk.disconnect(minionId);
    },
    drops: () => desk.drops.snapshot(),
    connections: () => router.connections(),
    close: async () => {
      await desk.close();
      await router.close();
    },
  };
}

/** Everything that comes in on the request channel, sorted to handshakes and sessions. */
class RequestDesk {
  readonly drops = new Drops();
  readonly #options: MasterEndpointOptions;
  readonly #tickets: OpeningTickets;
  readonly #reception: Reception;
  readonly #handshakes: HandshakeDesk;
  readonly #sessions = new LiveSessions();
  readonly #byRoute = new Map<string, LiveSession>();
  readonly #host: SessionHost;
  readonly #alarms: LimitAlarms;
  readonly #stop = new AbortController();
  #router: RouterPort | undefined;
  #lastSessionId = 0;

  constructor(options: MasterEndpointOptions) {
    const { handlers, clock, report } = options;
    const send = (route: Route, frame: Uint8Array) => this.#send(route, frame);
    this.#options = options;
    this.#alarms = new LimitAlarms(clock, options.limited);
    const addressOf = (route: Buffer) => this.#router?.addressOf(route);
    const holder = (minionId: string) => handlers.holder(minionId);
    this.#tickets = new OpeningTickets(options.identity, clock);
    this.#reception = new Reception({
      clock,
      drops: this.drops,
      tickets: this.#tickets,
      addressOf,
      holder,
      send,
      serve: (route, opening) => this.#handshakes.opening(route, opening),
      report,
    });
    this.#handshakes = new HandshakeDesk({
      identity: options.identity,
      clock,
      drops: this.drops,
      tickets: this.#tickets,
      addressOf,
      holder,
      admit: (minionId, peer, address) => handlers.admit(minionId, peer, address),
      send,
      open: (admitted, first) => {
        this.#open(admitted, first);
      },
    });
    this.#host = {
      handlers,
      budget: new RequestBudget(clock),
      turns: new Turns(),
      now: () => clock.now(),
      monotonicMs: () => clock.monotonicMs(),
      send,
      dropped: (reason) => {
        this.drops.add(reason);
      },
      report,
      ended: (session) => {
        this.#sessions.remove(session);
        const route = session.route.toString("latin1");
        if (this.#byRoute.get(route) === session) {
          this.#byRoute.delete(route);
          this.#router?.end(session.route);
        }
        handlers.closed(session);
      },
    };
  }

  /** Who sends large frames to many waits until each has left. */
  async #send(route: Route, frame: Uint8Array): Promise<boolean> {
    const router = this.#router;
    if (!router?.send(route, frame)) return false;
    return frame.length <= SMALL_FRAME_BYTES || router.taken(route);
  }

  start(router: RouterPort): void {
    this.#router = router;
    void this.#sweep();
  }

  sessions(): Iterable<PeerSession> {
    return this.#sessions.all();
  }

  disconnect(minionId: string): void {
    this.#handshakes.dropMinion(minionId);
    for (const session of this.#sessions.of(minionId)) session.close();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    for (const session of this.#sessions.all()) session.close();
  }

  /** A connection is over, and so is what was said on it. */
  gone(route: Route): void {
    this.#byRoute.get(route.toString("latin1"))?.lost();
  }

  cutOff(reason: CutOff, address: string): void {
    this.drops.add(reason);
    this.#alarms.hit(reason, address);
  }

  frame(route: Route, bytes: Buffer): void {
    this.#dispatch(route, bytes).catch((error: unknown) => {
      this.#options.report("cannot handle a frame", error);
    });
  }

  async #dispatch(route: Route, bytes: Buffer): Promise<void> {
    const frame = decodeFrame(bytes);
    if (typeof frame === "string") {
      this.drops.add(frame);
      if (frame === "version") this.#router?.send(route, encodeHint("version"));
      return;
    }
    switch (frame.kind) {
      case "xx1":
      case "ik1":
        return this.#reception.arrive(route, frame);
      case "xx2":
      case "xx3":
      case "ik2":
        return this.#handshakes.later(route, frame);
      case "data":
        return this.#data(route, frame);
      case "version-hint":
      case "unknown-session-hint":
      case "unreadable-handshake-hint":
      case "cookie-hint":
        this.drops.add("garbage");
    }
  }

  async #data(route: Buffer, frame: Frame & { readonly kind: "data" }): Promise<void> {
    const session = this.#sessions.get(frame.sessionId);
    if (session) {
      session.receive(route, frame);
    } else if (!this.#handshakes.confirm(route, frame)) {
      this.drops.add("unknown-session");
      this.#router?.send(route, encodeHint("unknownSession", frame.sessionId));
    }
  }

  #open(admitted: Admitted, first?: Buffer): void {
    if (this.#router?.addressOf(admitted.route) === undefined) {
      admitted.channel.wipe();
      return;
    }
    const route = admitted.route.toString("latin1");
    // the same connection made a new session: its old one is over, the connection is not
    const before = this.#byRoute.get(route);
    this.#byRoute.delete(route);
    before?.close();
    this.#lastSessionId += 1;
    const session = new LiveSession(this.#host, { ...admitted, sessionId: this.#lastSessionId });
    this.#byRoute.set(route, session);
    if (!this.#sessions.add(session)) {
      session.close();
      return;
    }
    this.#router?.settle(admitted.route);
    this.#options.handlers.opened(session);
    if (first) session.take(first);
  }

  async #lookAfter(session: LiveSession): Promise<void> {
    if (session.ticketAgeMs < TICKET_RENEWAL_MS) return;
    await session.renewTicket(this.#tickets.issue(session.minionId, session.peer));
  }

  /** Ends sessions that are silent for long, and handshakes that nobody finished. */
  async #sweep(): Promise<void> {
    const { clock, report } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await clock.sleep(SWEEP_MS, signal);
        this.#handshakes.expire();
        this.#alarms.expire();
        for (const session of this.#sessions.all()) {
          if (session.silentMs > SILENCE_MS) session.close();
          else await this.#lookAfter(session);
        }
      } catch (error) {
        if (!signal.aborted) report("cannot look after sessions", error);
      }
    }
  }
}
