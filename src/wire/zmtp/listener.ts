import { createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../../core/clock.ts";
import { TransportError } from "../../core/errors.ts";
import { Connection, type ConnectionEvents } from "./connection.ts";
import { Crowd, type CrowdBounds } from "./crowd.ts";
import type { CutOff } from "./cut-off.ts";
import { heaviest } from "./heaviest.ts";
import { networkOf, plainAddress } from "./peer-address.ts";
import type { Route, RouterEvents, RouterPort } from "./router-port.ts";
import { Turnstile } from "./turnstile.ts";

const TICK_MS = 1000;
/** How long farewells have to leave when all ends. */
const LINGER_MS = 300;
const ROUTE_BYTES = 8;

/** What a listener needs besides its events. */
export interface ListenerOptions {
  readonly clock: Clock;
  readonly bounds: CrowdBounds;
}

/**
 * Listens for DEALERs, as a ROUTER would: whatever speaks ZMTP 3 with the NULL mechanism. Throws TransportError `cannot-bind`.
 */
export async function bindRouter(
  address: string,
  port: number,
  events: RouterEvents,
  options: ListenerOptions,
): Promise<RouterPort> {
  const listener = new Listener(events, options);
  return { port: await listener.listen(address.replace(/^\[(.*)\]$/u, "$1"), port), ...listener.doors() };
}

class Listener implements ConnectionEvents {
  readonly #events: RouterEvents;
  readonly #clock: Clock;
  readonly #crowd: Crowd<Connection>;
  readonly #turnstile: Turnstile<Connection>;
  readonly #byRoute = new Map<string, Connection>();
  readonly #stop = new AbortController();
  readonly #server: Server;
  #routes = 0n;
  #whenEmpty: (() => void) | undefined;

  constructor(events: RouterEvents, { clock, bounds }: ListenerOptions) {
    this.#events = events;
    this.#clock = clock;
    this.#crowd = new Crowd(bounds);
    this.#turnstile = new Turnstile(clock);
    this.#server = createServer({ noDelay: true }, (socket) => {
      this.#arrived(socket);
    });
  }

  /** Resolves to the port. */
  async listen(host: string, port: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.listen({ host, port }, resolve);
    try {
      await promise;
    } catch (cause) {
      throw new TransportError("cannot-bind", `cannot listen on "${host}" port ${port}`, {
        cause,
        hint: "does another master run here, or is the address not this machine's",
      });
    }
    this.#server.off("error", reject);
    // no descriptor was free to accept with
    this.#server.on("error", () => {
      this.#events.cutOff("turned-away", "");
    });
    void this.#tick();
    const bound = this.#server.address();
    return typeof bound === "object" && bound ? bound.port : port;
  }

  doors(): Omit<RouterPort, "port"> {
    const at = (route: Route) => this.#byRoute.get(keyOf(route));
    return {
      send: (route, frame) => at(route)?.send(frame) ?? false,
      taken: async (route) => {
        await at(route)?.taken();
        return this.#byRoute.has(keyOf(route));
      },
      addressOf: (route) => at(route)?.address,
      settle: (route) => {
        const connection = at(route);
        if (!connection?.settle()) return;
        this.#crowd.settle(connection, networkOf(connection.address));
      },
      end: (route) => {
        at(route)?.end();
      },
      connections: () => this.#crowd.counts(),
      close: async () => this.#close(),
    };
  }

  message(from: Connection, body: Buffer): void {
    this.#events.frame(from.route, body);
  }

  waits(which: Connection, bytes: number): boolean {
    return this.#turnstile.enter(which, networkOf(which.address), bytes);
  }

  over(which: Connection, cutOff: CutOff | undefined): void {
    this.#byRoute.delete(keyOf(which.route));
    this.#turnstile.leave(which, networkOf(which.address));
    this.#crowd.leave(which, networkOf(which.address));
    if (cutOff) this.#events.cutOff(cutOff, which.address);
    this.#events.gone(which.route);
    if (this.#byRoute.size === 0) this.#whenEmpty?.();
  }

  #arrived(socket: Socket): void {
    const address = plainAddress(socket.remoteAddress ?? "");
    const network = networkOf(address);
    const leaving = address === "" ? "itself" : this.#crowd.whoLeavesFor(network);
    if (leaving === "itself") {
      socket.on("error", () => {});
      socket.resetAndDestroy();
      this.#events.cutOff("turned-away", address);
      return;
    }
    if (leaving !== "nobody") leaving.cutOff("turned-away");
    this.#routes += 1n;
    const route = Buffer.alloc(ROUTE_BYTES);
    route.writeBigUInt64BE(this.#routes);
    const connection = new Connection(socket, route, address, this);
    this.#byRoute.set(keyOf(route), connection);
    this.#crowd.enter(connection, network);
  }

  async #tick(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(TICK_MS, signal);
      } catch {
        return;
      }
      for (const connection of this.#byRoute.values()) connection.tick();
      for (const connection of heaviest(this.#byRoute.values())) connection.cutOff("turned-away");
    }
  }

  async #close(): Promise<void> {
    this.#stop.abort();
    const closed = Promise.withResolvers<void>();
    this.#server.close(() => {
      closed.resolve();
    });
    const empty = Promise.withResolvers<void>();
    this.#whenEmpty = empty.resolve;
    if (this.#byRoute.size === 0) empty.resolve();
    for (const connection of this.#byRoute.values()) connection.end();
    await Promise.race([empty.promise, this.#clock.sleep(LINGER_MS)]);
    for (const connection of this.#byRoute.values()) connection.cutOff(undefined);
    await closed.promise;
  }
}

function keyOf(route: Route): string {
  return route.toString("latin1");
}
