import { Drops } from "./drop-counters.ts";
import type { MasterEndpoint, MasterEndpointOptions, PeerSession } from "./endpoints.ts";
import { FleetPublisher } from "./fleet-publisher.ts";
import { decodeFrame, encodeHint, type Frame } from "./frames.ts";
import { type Admitted, HandshakeDesk } from "./handshake-desk.ts";
import { PROBE_AFTER_MS, SILENCE_MS } from "./limits.ts";
import { LiveSession, type SessionHost } from "./live-session.ts";
import { LiveSessions } from "./live-sessions.ts";
import { PeerAddresses } from "./peer-addresses.ts";
import { RequestBudget } from "./request-budget.ts";
import { batchTransport, bindPublisher, bindRouter, type RouterPort } from "./sockets.ts";

const SWEEP_MS = 1000;

/** Binds the master's two sockets. Throws TransportError `cannot-bind`. */
export async function listenMaster(options: MasterEndpointOptions): Promise<MasterEndpoint> {
  batchTransport();
  const publisher = new FleetPublisher(
    await bindPublisher(options.interface, options.publishPort),
    options.identity.sign,
  );
  const desk = new RequestDesk(options);
  try {
    const router = await bindRouter(options.interface, options.returnPort, desk);
    desk.start(router);
    return endpoint(desk, publisher, router);
  } catch (error) {
    publisher.close();
    throw error;
  }
}

function endpoint(desk: RequestDesk, publisher: FleetPublisher, router: RouterPort): MasterEndpoint {
  return {
    publishPort: publisher.port,
    returnPort: router.port,
    publish: (job) => publisher.publish(job),
    rotateFleetKey: async () => {
      const fleetKey = publisher.rotate();
      await Promise.all([...desk.sessions()].map((session) => session.notify({ kind: "fleet-key", ...fleetKey })));
    },
    get fleetKey() {
      return publisher.fleetKey;
    },
    sessions: () => desk.sessions(),
    disconnect: (minionId) => {
      desk.disconnect(minionId);
    },
    drops: () => desk.drops.snapshot(),
    close: async () => {
      await desk.close();
      publisher.close();
      router.close();
    },
  };
}

/** Everything that comes in on the request channel, sorted to handshakes and sessions. */
class RequestDesk {
  readonly drops = new Drops();
  readonly #options: MasterEndpointOptions;
  readonly #handshakes: HandshakeDesk;
  readonly #sessions = new LiveSessions();
  readonly #byRoute = new Map<string, LiveSession>();
  readonly #host: SessionHost;
  readonly #addresses: PeerAddresses;
  readonly #stop = new AbortController();
  #router: RouterPort | undefined;
  #lastSessionId = 0;

  constructor(options: MasterEndpointOptions) {
    const { handlers, clock, report } = options;
    const send = async (route: Buffer, frame: Uint8Array) => (await this.#router?.send(route, frame)) ?? false;
    this.#options = options;
    this.#addresses = new PeerAddresses(clock);
    this.#handshakes = new HandshakeDesk({
      identity: options.identity,
      clock,
      drops: this.drops,
      addressOf: (route) => this.#addresses.of(route.toString("latin1")),
      holder: (minionId) => handlers.holder(minionId),
      admit: (minionId, peer, address) => handlers.admit(minionId, peer, address),
      send,
      open: (admitted, first) => {
        this.#open(admitted, first);
      },
    });
    this.#host = {
      handlers,
      budget: new RequestBudget(clock),
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
          this.#addresses.release(route);
        }
        handlers.closed(session);
      },
    };
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
    // lets the farewells reach the socket's own thread
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }

  /** Gets the route and address of a connection; false turns it away. */
  connecting(route: string, address: string): boolean {
    const welcome = this.#addresses.connecting(route, address);
    if (!welcome) this.drops.add("turned-away");
    return welcome;
  }

  frame(route: Buffer, bytes: Buffer | undefined): void {
    this.#dispatch(route, bytes).catch((error: unknown) => {
      this.#options.report("cannot handle a frame", error);
    });
  }

  async #dispatch(route: Buffer, bytes: Buffer | undefined): Promise<void> {
    const frame: Frame | "garbage" | "version" = bytes ? decodeFrame(bytes) : "garbage";
    if (typeof frame === "string") {
      this.drops.add(frame);
      if (frame === "version") await this.#router?.send(route, encodeHint("version"));
      return;
    }
    switch (frame.kind) {
      case "xx1":
      case "ik1":
        return this.#handshakes.opening(route, frame);
      case "xx2":
      case "xx3":
      case "ik2":
        return this.#handshakes.later(route, frame);
      case "data":
        return this.#data(route, frame);
      case "version-hint":
      case "unknown-session-hint":
      case "unreadable-handshake-hint":
        this.drops.add("garbage");
    }
  }

  async #data(route: Buffer, frame: Frame & { readonly kind: "data" }): Promise<void> {
    const session = this.#sessions.get(frame.sessionId);
    if (session) {
      session.receive(route, frame);
    } else if (!this.#handshakes.confirm(route, frame)) {
      this.drops.add("unknown-session");
      await this.#router?.send(route, encodeHint("unknownSession", frame.sessionId));
    }
  }

  #open(admitted: Admitted, first?: Buffer): void {
    const route = admitted.route.toString("latin1");
    // the same connection made a new session: its old one is over
    this.#byRoute.get(route)?.close();
    this.#lastSessionId += 1;
    const session = new LiveSession(this.#host, { ...admitted, sessionId: this.#lastSessionId });
    if (!this.#sessions.add(session)) {
      session.close();
      return;
    }
    this.#byRoute.set(route, session);
    this.#addresses.claim(route, admitted.address);
    this.#options.handlers.opened(session);
    if (first) session.take(first);
  }

  /** Ends sessions whose peers are gone, and handshakes that nobody finished. */
  async #sweep(): Promise<void> {
    const { clock, report } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await clock.sleep(SWEEP_MS, signal);
        this.#handshakes.expire();
        this.#addresses.expire();
        for (const session of this.#sessions.all()) {
          if (session.silentMs > SILENCE_MS) session.close();
          else await session.probe(PROBE_AFTER_MS);
        }
      } catch (error) {
        if (!signal.aborted) report("cannot look after sessions", error);
      }
    }
  }
}
