import type { Clock } from "../core/clock.ts";
import { ProtocolError } from "../core/errors.ts";
import type { PublicIdentity } from "../core/identity.ts";
import type { Drops } from "./drop-counters.ts";
import type { JobInbox } from "./job-inbox.ts";
import type { Method, Notice, Request, Response } from "./messages.ts";
import type { LiveLink } from "./minion-link.ts";
import { encodeRequest, type MasterPacket } from "./packets.ts";
import { PendingRequests } from "./pending-requests.ts";

export interface MinionSessionOptions {
  readonly live: LiveLink;
  readonly clock: Clock;
  readonly drops: Drops;
  /** undefined: takes no jobs. */
  readonly inbox: JobInbox | undefined;
  /** The master says that a held lease may be asked for again. */
  readonly leaseRetry: () => void;
  /** A newer ticket of the master. */
  readonly ticket: (ticket: Uint8Array) => void;
}

/** A live session at the minion: requests and their answers, and notices. */
export class MinionSession {
  readonly #options: MinionSessionOptions;
  readonly #pending: PendingRequests;

  constructor(options: MinionSessionOptions) {
    const { live, clock, inbox } = options;
    this.#options = options;
    this.#pending = new PendingRequests(clock);
    inbox?.attach({
      master: live.master,
      fetch: (lastSeq) => this.request("jobs.since", { lastSeq }, FETCH_TIMEOUT_MS),
    });
  }

  get master(): PublicIdentity {
    return this.#options.live.master;
  }

  get handshakeHash(): Buffer {
    return this.#options.live.handshakeHash;
  }

  /** As MasterConnection.request. */
  async request<M extends Method>(
    method: M,
    body: Request<M>,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<Response<M>> {
    const { id, answer } = this.#pending.add(method, timeoutMs, signal);
    this.#options.live.send(encodeRequest(id, method, body)).catch((error: unknown) => {
      this.#pending.drop(id, error);
    });
    const response = (await answer) as Response<M>;
    this.#learn(method, response);
    return response;
  }

  /** What the master said on this session. */
  receive(packet: MasterPacket): void {
    try {
      if (packet.kind === "response") this.#pending.respond(packet.id, packet.body);
      else if (packet.kind === "failure") this.#pending.fail(packet.id, packet.code);
      else if (packet.kind === "notice") this.#notice(packet.notice);
      else this.#options.drops.add("bad-message");
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#options.drops.add("bad-message");
    }
  }

  /** The session is over. */
  end(reason: string): void {
    this.#options.inbox?.attach(undefined);
    this.#pending.end(reason);
  }

  #notice(notice: Notice): void {
    switch (notice.kind) {
      case "probe":
        return;
      case "job":
        this.#options.inbox?.noticed(notice.envelope, notice.after, notice.epoch);
        return;
      case "ticket":
        this.#options.ticket(notice.ticket);
        return;
      case "lease-retry":
        this.#options.leaseRetry();
        return;
      case "close":
        this.#options.live.end("the master ended the session");
    }
  }

  #learn(method: Method, response: Response<Method>): void {
    if ((method === "hello" || method === "heartbeat") && "seq" in response) {
      this.#options.inbox?.latest(response.seq);
    }
  }
}

const FETCH_TIMEOUT_MS = 15_000;
