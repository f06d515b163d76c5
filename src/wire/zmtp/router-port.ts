import type { ConnectionCounts } from "../endpoints.ts";
import type { CutOff } from "./cut-off.ts";

/** Leads back to one connection, for the life of the process; to be handed on as it is, or compared. */
export type Route = Buffer;

/** The master's request socket, bound: frames come with the route that leads back to their sender. */
export interface RouterPort {
  readonly port: number;
  /** Sends a frame that will not be changed any more. False when the peer is gone or does not read. */
  send(route: Route, frame: Uint8Array): boolean;
  /** Resolves when all that was sent until now has left; false when the connection is over by then. */
  taken(route: Route): Promise<boolean>;
  /** The peer's address as the kernel says it; undefined when the connection is over. */
  addressOf(route: Route): string | undefined;
  /** The connection has a session from now on: it may send large frames, and nobody without a session pushes it out. */
  settle(route: Route): void;
  /** Ends the connection once what was sent to it has left. */
  end(route: Route): void;
  connections(): ConnectionCounts;
  /** Ends all of them, with a moment for what was sent to leave. */
  close(): Promise<void>;
}

/** What the master's request socket reports. None may throw. */
export interface RouterEvents {
  frame(route: Route, frame: Buffer): void;
  /** The connection is over, whoever ended it. */
  gone(route: Route): void;
  /** A connection was cut off, or not let in. */
  cutOff(reason: CutOff, address: string): void;
}
