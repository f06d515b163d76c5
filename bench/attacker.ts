import { connect, type Socket } from "node:net";
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { encodeOpening } from "../src/wire/frames.ts";
import { GREETING, message, READY } from "../test/contract/wire/raw-peer.ts";
import type { AttackPlan } from "./attack-plan.ts";
import { floodAsHost } from "./hostile-host.ts";

/**
 * An attacker in a process of its own: `attacker.ts PLAN`, an AttackPlan in JSON. Prints what it has done so far as a line of
 * JSON twice a second, and goes on until it is killed.
 */
const plan = JSON.parse(process.argv[2] ?? "") as AttackPlan;

/** What it has done so far. */
const done: Record<string, number> = {};
const count = (what: string, by = 1) => {
  done[what] = (done[what] ?? 0) + by;
};
console.log(JSON.stringify(done));
setInterval(() => console.log(JSON.stringify(done)), 500);

const addressOf = (index: number) => `127.0.1.${1 + (index % 16)}`;

/** Keeps one connection up for ever; a new one a moment after it was closed. */
function keepConnecting(index: number, port: number, use: (socket: Socket, isOpen: () => boolean) => void): void {
  const socket = connect({ host: "127.0.0.1", port, localAddress: addressOf(index) });
  let isOpen = true;
  socket.on("connect", () => {
    count("connections");
    use(socket, () => isOpen);
  });
  socket.on("data", (chunk) => count("bytesReceived", chunk.length));
  socket.on("error", (error: NodeJS.ErrnoException) => count(error.code ?? "error"));
  socket.on("close", () => {
    isOpen = false;
    setTimeout(() => keepConnecting(index, port, use), 50);
  });
}

/** Sends what `next` makes on one connection, as fast as it is taken, or so many bytes a second. */
async function pour(
  socket: Socket,
  isOpen: () => boolean,
  bytesPerSecond: number | undefined,
  next: () => Buffer,
): Promise<void> {
  const begun = performance.now();
  for (let sent = 0; isOpen();) {
    const bytes = next();
    sent += bytes.length;
    count("bytesSent", bytes.length);
    if (!socket.write(bytes)) {
      await new Promise<void>((resolve) => {
        const go = () => {
          socket.off("drain", go).off("close", go);
          resolve();
        };
        socket.on("drain", go).on("close", go);
      });
    }
    if (bytesPerSecond === undefined) await delay(0);
    else await delay(Math.max(0, begun + (sent * 1000) / bytesPerSecond - performance.now()));
  }
}

function floodOpenings(recorded: readonly Buffer[], bytesPerSecond: number | undefined): void {
  const connections = 64;
  const share = bytesPerSecond === undefined ? undefined : bytesPerSecond / connections;
  const batch = bytesPerSecond === undefined ? 128 : 8;
  for (let index = 0; index < connections; index += 1) {
    keepConnecting(index, plan.port, (socket, isOpen) => {
      socket.write(Buffer.concat([GREETING, READY]));
      void pour(socket, isOpen, share, () => {
        count("openings", batch);
        return Buffer.concat(
          Array.from({ length: batch }, (_, n) => {
            const replay = n % 2 === 1 ? recorded[(n >> 1) % recorded.length] : undefined;
            return message(replay ?? encodeOpening("xx1", "bot1", randomBytes(32)));
          }),
        );
      });
    });
  }
}

async function holdIdle(connections: number): Promise<void> {
  for (let index = 0; index < connections; index += 1) {
    keepConnecting(index, plan.port, (socket) => {
      if (index % 3 === 1) socket.write(GREETING.subarray(0, 32));
      if (index % 3 === 2) {
        let at = 0;
        const timer = setInterval(() => socket.write(GREETING.subarray(at % 64, (at++ % 64) + 1)), 1000);
        socket.on("close", () => {
          clearInterval(timer);
        });
      }
    });
    // so many at once that no backlog overflows
    if (index % 100 === 99) await delay(10);
  }
}

function sendGarbage(): void {
  for (let index = 0; index < 64; index += 1) {
    keepConnecting(index, plan.port, (socket, isOpen) => {
      // half of them once they have said READY, and beginning as frames of the protocol do
      if (index % 2 === 1) socket.write(Buffer.concat([GREETING, READY]));
      void pour(socket, isOpen, undefined, () => {
        if (index % 2 === 0) return randomBytes(4096);
        return Buffer.concat(Array.from({ length: 32 }, (_, n) => message(Buffer.of(1, n % 6, ...randomBytes(60)))));
      });
    });
  }
}

function sendUnfinished(): void {
  for (let index = 0; index < 64; index += 1) {
    keepConnecting(index, plan.port, (socket, isOpen) => {
      socket.write(Buffer.concat([GREETING, READY]));
      void pour(socket, isOpen, undefined, () => message(Buffer.alloc(1000), 1));
    });
  }
}

function subscribe(): void {
  for (let index = 0; index < 64; index += 1) {
    keepConnecting(index, plan.publishPort, (socket, isOpen) => {
      socket.write(GREETING);
      void pour(socket, isOpen, undefined, () => message(Buffer.of(1, ...randomBytes(200))));
    });
  }
}

switch (plan.kind) {
  case "openings":
    floodOpenings(
      plan.recorded.map((opening) => Buffer.from(opening, "base64")),
      plan.bytesPerSecond,
    );
    break;
  case "idle":
    await holdIdle(plan.connections);
    break;
  case "garbage":
    sendGarbage();
    break;
  case "multipart":
    sendUnfinished();
    break;
  case "subscriptions":
    subscribe();
    break;
  case "host":
    await floodAsHost(plan.method, { returnPort: plan.port }, count);
}
