import { Dealer, type EventType, type Socket } from "zeromq";
import { TransportError } from "../core/errors.ts";
import { HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS, MAX_FRAME_BYTES } from "./limits.ts";

const COMMON = {
  linger: 0,
  heartbeatInterval: HEARTBEAT_INTERVAL_MS,
  heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
  maxMessageSize: MAX_FRAME_BYTES,
} as const;

// frames kept for a peer that does not read, and for us when we do not
const PEER_QUEUE = 256;

// sends happen at once or fail at once: one slow reader never holds up the others
const SENDING = { ...COMMON, sendTimeout: 0, sendHighWaterMark: PEER_QUEUE } as const;

const CONNECT_TIMEOUT_MS = 3000;

/** What a minion's connecting socket reports. */
export interface LinkEvents {
  /** undefined for a frame of several parts. */
  frame(frame: Buffer | undefined): void;
  /** The transport is up. */
  up(): void;
  /** The transport failed or ended, and stays so until the socket is opened anew. */
  down(reason: string): void;
}

/** A minion's request socket. */
export interface DealerPort {
  /** Throws TransportError `busy` when too much waits to be sent. */
  send(frame: Uint8Array): Promise<void>;
  close(): void;
}

/** Connects a DEALER once to an address (a name that is unknown would never be told of); it does not reconnect by itself. */
export function connectDealer(host: string, port: number, events: LinkEvents): DealerPort {
  const socket = new Dealer({
    ...SENDING,
    reconnectInterval: -1,
    connectTimeout: CONNECT_TIMEOUT_MS,
    receiveHighWaterMark: PEER_QUEUE,
  });
  observe(socket, events);
  connect(socket, host, port);
  void pump(socket, async () => {
    for await (const [frame, ...more] of socket) events.frame(more.length > 0 ? undefined : frame);
  });
  return {
    send: async (frame) => {
      if (socket.closed) throw new TransportError("not-connected", "cannot send: the connection is closed");
      try {
        await socket.send(frame);
      } catch (cause) {
        throw new TransportError("busy", "cannot send: too much waits to be sent already", { cause });
      }
    },
    close: () => {
      socket.close();
    },
  };
}

const DOWN: readonly EventType[] = [
  "disconnect",
  "close",
  "connect:retry",
  "handshake:error:protocol",
  "handshake:error:auth",
  "handshake:error:other",
];

function observe(socket: Socket, events: LinkEvents): void {
  socket.events.on("handshake", () => {
    events.up();
  });
  for (const type of DOWN) {
    socket.events.on(type, () => {
      events.down(type === "disconnect" ? "the connection was lost" : "the address does not answer");
    });
  }
}

function connect(socket: Dealer, host: string, port: number): void {
  const isIpv6 = host.includes(":");
  const address = isIpv6 && !host.startsWith("[") ? `[${host}]` : host;
  if (isIpv6) socket.ipv6 = true;
  try {
    socket.connect(`tcp://${address}:${port}`);
  } catch (cause) {
    socket.close();
    throw new TransportError("bad-address", `cannot connect to "${host}" port ${port}`, { cause });
  }
}

/** Runs a read loop until its socket is closed; the error of a socket closed under it is its normal end. */
async function pump(socket: Socket, loop: () => Promise<void>): Promise<void> {
  try {
    await loop();
  } catch (error) {
    if (!socket.closed) throw error;
  }
}
