import { type IncomingMessage, request } from "node:http";
import { createInterface } from "node:readline";
import type { ControlEvent, JobEvent, JobRequest, MasterStatus } from "../src/core/control-api.ts";

/** One call of the control API; resolves with the whole body. */
async function call(socket: string, method: string, path: string, body?: unknown): Promise<string> {
  return await new Promise((resolve, reject) => {
    const outgoing = request(
      { socketPath: socket, method, path, headers: body === undefined ? {} : { "content-type": "application/json" } },
      (incoming) => {
        let text = "";
        incoming.setEncoding("utf8").on("data", (part: string) => {
          text += part;
        });
        incoming.once("end", () => {
          if (incoming.statusCode === 200) resolve(text);
          else reject(new Error(`${method} ${path}: ${incoming.statusCode} ${text}`));
        });
      },
    );
    outgoing.once("error", reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** How many minions the master counts as connected. */
export async function connectedCount(socket: string): Promise<number> {
  const status = JSON.parse(await call(socket, "GET", "/v1/status")) as MasterStatus;
  return status.minions.filter((minion) => minion.connected).length;
}

/** Frames that the master has dropped since its start, by reason. */
export async function droppedFrames(socket: string): Promise<MasterStatus["drops"]> {
  return (JSON.parse(await call(socket, "GET", "/v1/status")) as MasterStatus).drops;
}

/** Runs a job on every minion; throws unless `hosts` of them succeeded. Resolves with the milliseconds it took. */
export async function timeJob(socket: string, fun: string, args: readonly string[], hosts: number): Promise<number> {
  const job: JobRequest = { target: { kind: "glob", expr: "*" }, fun, args, kwargs: {}, timeoutMs: 60_000 };
  const begun = performance.now();
  const lines = (await call(socket, "POST", "/v1/jobs", job)).trim().split("\n");
  const ms = performance.now() - begun;
  const end = JSON.parse(lines.at(-1) ?? "{}") as JobEvent;
  if (end.event !== "end" || end.succeeded !== hosts) {
    throw new Error(
      `${fun}: wanted ${hosts} successes, got ${lines.at(-1)}; first lines: ${lines.slice(0, 3).join(" ").slice(0, 600)}`,
    );
  }
  return ms;
}

/**
 * Follows what happens at the master; resolves once it does. `next` is the first event with this tag from then on whose
 * data has this purpose: nothing is asked of the master meanwhile, which would cost what is being measured.
 */
export async function followEvents(socket: string) {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request({ socketPath: socket, path: "/v1/events" }, resolve).once("error", reject).end();
  });
  const waiting = new Set<(event: ControlEvent) => void>();
  createInterface({ input: response }).on("line", (line) => {
    if (line === "") return;
    const event = JSON.parse(line) as ControlEvent;
    for (const listener of waiting) listener(event);
  });
  return {
    next: async (tag: string, purpose: string, deadlineMs: number): Promise<ControlEvent> =>
      await new Promise((resolve, reject) => {
        const done = () => {
          clearTimeout(timer);
          waiting.delete(listener);
        };
        const listener = (event: ControlEvent) => {
          if (event.tag !== tag || event.data["purpose"] !== purpose) return;
          done();
          resolve(event);
        };
        const timer = setTimeout(() => {
          done();
          reject(new Error(`gave up waiting for ${tag} (${purpose}) after ${deadlineMs} ms`));
        }, deadlineMs);
        waiting.add(listener);
      }),
    close: () => response.destroy(),
  };
}
