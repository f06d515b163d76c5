import type { Clock } from "../core/clock.ts";
import { ProtocolError } from "../core/errors.ts";
import type { PublicIdentity } from "../core/identity.ts";
import type { Drops } from "./drop-counters.ts";
import type { MasterAddress } from "./endpoints.ts";
import { type FleetKey, openPublished } from "./fleet-cipher.ts";
import type { JobInbox } from "./job-inbox.ts";
import type { Method, Notice, Request, Response } from "./messages.ts";
import type { LiveLink } from "./minion-link.ts";
import { encodeRequest, type MasterPacket } from "./packets.ts";
import { PendingRequests } from "./pending-requests.ts";
import { connectSubscriber } from "./sockets.ts";

export interface MinionSessionOptions {
  readonly address: MasterAddress;
  readonly live: LiveLink;
  readonly clock: Clock;
  readonly drops: Drops;
  /** undefined: takes no jobs, and does not subscribe. */
  readonly inbox: JobInbox | undefined;
  /** The master says that a held lease may be asked for again. */
  readonly leaseRetry: () => void;
}

/** A live session at the minion: requests and their answers, notices, and what is published meanwhile. */
export class MinionSession {
  readonly #options: MinionSessionOptions;
  readonly #pending: PendingRequests;
  readonly #subscriber: { close(): void } | undefined;
  #fleetKey: FleetKey | undefined;
  #greeted = false;

  constructor(options: MinionSessionOptions) {
    const { address, live, clock, inbox } = options;
    this.#options = options;
    this.#pending = new PendingRequests(clock);
    if (!inbox) return;
    inbox.attach({
      master: live.master,
      fetch: (lastSeq) => this.request("jobs.since", { lastSeq }, FETCH_TIMEOUT_MS),
    });
    this.#subscriber = connectSubscriber(address.host, address.publishPort, {
      frame: (frame) => {
        this.#published(frame);
      },
      up: () => {
        // whatever was published before the subscription stood is found out now
        if (this.#greeted) inbox.hint();
      },
      down: () => {},
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
    this.#subscriber?.close();
    this.#options.inbox?.attach(undefined);
    this.#pending.end(reason);
    this.#takeFleetKey(undefined);
  }

  /** The one before is overwritten: nothing is opened with it any more. */
  #takeFleetKey(next: FleetKey | undefined): void {
    this.#fleetKey?.key.fill(0);
    this.#fleetKey = next;
  }

  #notice(notice: Notice): void {
    switch (notice.kind) {
      case "probe":
        return;
      case "job":
        this.#options.inbox?.noticed(notice.envelope);
        return;
      case "fleet-key":
        this.#takeFleetKey({ id: notice.id, key: Buffer.from(notice.key) });
        notice.key.fill(0);
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
      if ("fleetKey" in response) {
        const { id, key } = response.fleetKey;
        this.#takeFleetKey({ id, key: Buffer.from(key) });
        key.fill(0);
        this.#greeted = true;
      }
      this.#options.inbox?.latest(response.seq);
    }
  }

  #published(frame: Buffer | undefined): void {
    const { inbox, drops } = this.#options;
    const envelope = frame ? openPublished(frame, this.#fleetKey) : "garbage";
    if (typeof envelope !== "string") inbox?.published(envelope);
    else {
      drops.add(envelope);
      if (envelope === "unknown-fleet-key" && this.#greeted) inbox?.hint();
    }
  }
}

const FETCH_TIMEOUT_MS = 15_000;
