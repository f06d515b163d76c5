import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { Reply } from "zeromq";
import { TransportError } from "../core/errors.ts";

// where libzmq asks whether a connection may come in (ZeroMQ RFC 27, ZAP); there is one such place in a process
const ENDPOINT = "inproc://zeromq.zap.01";
const VERSION = "1.0";

/** Whether a connection may come in: the user name it gave and its address, as the kernel says it. */
export type Doorkeeper = (username: string, address: string) => boolean;

const doorkeepers = new Map<string, Doorkeeper>();
let desk: Promise<Reply> | undefined;

/** A socket's place in ZAP. */
export interface ZapDomain {
  /** For the socket's `zapDomain`. */
  readonly name: string;
  close(): void;
}

/**
 * From now on `doorkeeper` is asked about every connection to the sockets of the returned domain. It must not throw.
 * Throws TransportError `cannot-bind` when something else in this process answers ZAP.
 */
export async function openZapDomain(doorkeeper: Doorkeeper): Promise<ZapDomain> {
  const name = randomBytes(8).toString("hex");
  doorkeepers.set(name, doorkeeper);
  const close = () => {
    doorkeepers.delete(name);
    if (doorkeepers.size > 0 || !desk) return;
    void closeDesk(desk);
    desk = undefined;
  };
  desk ??= openDesk();
  try {
    await desk;
  } catch (error) {
    close();
    throw error;
  }
  return { name, close };
}

async function closeDesk(closing: Promise<Reply>): Promise<void> {
  const socket = await closing.catch(() => undefined);
  socket?.close();
}

async function openDesk(): Promise<Reply> {
  const socket = new Reply({ linger: 0 });
  for (let tries = 1; ; tries += 1) {
    try {
      await socket.bind(ENDPOINT);
      void answer(socket);
      return socket;
    } catch (cause) {
      if (tries < 100) {
        // a desk closed a moment ago frees the name on another thread
        await delay(10);
      } else {
        socket.close();
        throw new TransportError("cannot-bind", `cannot answer at ${ENDPOINT}`, { cause });
      }
    }
  }
}

async function answer(socket: Reply): Promise<void> {
  try {
    for await (const request of socket) await socket.send(reply(request));
  } catch (error) {
    if (!socket.closed) throw error;
  }
}

/** Frames in: version, request id, domain, address, routing id, mechanism, user name, password. */
function reply([version, requestId = Buffer.alloc(0), domain, address, , mechanism, username]: readonly Buffer[]) {
  const known = version?.toString() === VERSION && mechanism?.toString() === "PLAIN";
  const doorkeeper = known ? doorkeepers.get(domain?.toString() ?? "") : undefined;
  const welcome = doorkeeper?.(username?.toString("latin1") ?? "", address?.toString("latin1") ?? "") ?? false;
  return [VERSION, requestId, ...(welcome ? ["200", "OK"] : ["400", "No"]), "", ""];
}
