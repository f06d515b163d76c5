import type { Clock } from "../core/clock.ts";
import { errorMessage } from "../core/errors.ts";
import type { Identity } from "../core/identity.ts";
import type { JsonObject } from "../core/json.ts";
import type { Logger } from "../core/log.ts";
import { VERSION } from "../core/version.ts";
import type { MasterConnection } from "../wire/endpoints.ts";
import type { SignedEpoch } from "../wire/messages.ts";
import { signHeartbeat } from "../wire/heartbeat-signature.ts";
import type { RunningJob } from "./jobs.ts";
import type { Witness } from "./witness.ts";

/** What a minion says of itself on each session. */
export interface PresenceOptions {
  readonly connection: () => MasterConnection;
  readonly role: "agent" | "call";
  /** Signs each heartbeat. */
  readonly identity: Identity;
  readonly bootId: string;
  readonly grains: () => Promise<JsonObject>;
  readonly lastSeq: () => number;
  /** The newest epoch of jobs that is kept of the master whose session is live; left out for a one-off call. */
  readonly epoch?: () => SignedEpoch | undefined;
  readonly running: () => RunningJob[];
  /** Keeps checkpoints of the master's audit log; left out for a one-off call. */
  readonly witness?: Witness;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Greets the master on a new session, then shows from time to time that it is there and what it runs. */
export class Presence {
  readonly #options: PresenceOptions;
  #session = new AbortController();
  // heartbeats of this session
  #counter = 0;

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /** To be called for each new session; resolves when the master has answered. */
  async greet(): Promise<void> {
    const { connection, role, bootId, grains, lastSeq, signal } = this.#options;
    this.#session.abort();
    this.#session = new AbortController();
    this.#counter = 0;
    const said = { version: VERSION, bootId, role, grains: await grains() };
    const epoch = this.#options.epoch?.();
    const body = { ...said, lastSeq: lastSeq(), ...(epoch === undefined ? {} : { epoch }) };
    const { heartbeatMs } = await connection().request("hello", body);
    void this.#beat(heartbeatMs, AbortSignal.any([signal, this.#session.signal]));
  }

  async #beat(heartbeatMs: number, signal: AbortSignal): Promise<void> {
    const { connection, clock, random, log } = this.#options;
    while (!signal.aborted) {
      try {
        await clock.sleep(heartbeatMs * (0.8 + 0.4 * random()), signal);
        if (connection().state.kind !== "connected") return;
        await this.#show(signal);
      } catch (thrown) {
        if (!signal.aborted) log.debug({ reason: errorMessage(thrown) }, "heartbeat not answered");
      }
    }
  }

  async #show(signal: AbortSignal): Promise<void> {
    const { connection, identity, bootId, lastSeq, running, witness } = this.#options;
    const kept = await witness?.kept();
    this.#counter += 1;
    const unsigned = { lastSeq: lastSeq(), running: running(), counter: this.#counter, bootId };
    // nothing is awaited between signing and sending: both are of one session
    const body = signHeartbeat(unsigned, identity, connection().handshakeHash);
    const { checkpoint } = await connection().request(
      "heartbeat",
      kept === undefined ? body : { ...body, witness: { seq: kept.seq, hash: kept.hash } },
      { signal },
    );
    if (checkpoint) await witness?.take(checkpoint);
  }
}
