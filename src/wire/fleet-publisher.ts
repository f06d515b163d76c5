import type { SigningKey } from "../core/crypto/ed25519.ts";
import { type FleetKey, FleetSealer, generateFleetKey } from "./fleet-cipher.ts";
import { signJob } from "./job-envelope.ts";
import type { Job } from "./messages.ts";
import type { PublisherPort } from "./sockets.ts";

/** The master's side of the publish channel: signs, seals, sends; holds the fleet key, which lives as long as it does. */
export class FleetPublisher {
  readonly #port: PublisherPort;
  readonly #signKey: SigningKey;
  #sealer = new FleetSealer(generateFleetKey());

  constructor(port: PublisherPort, signKey: SigningKey) {
    this.#port = port;
    this.#signKey = signKey;
  }

  get port(): number {
    return this.#port.port;
  }

  get fleetKey(): FleetKey {
    return this.#sealer.fleetKey;
  }

  /** Publishes the job; returns its signed envelope. */
  async publish(job: Job): Promise<Buffer> {
    const envelope = signJob(job, this.#signKey);
    await this.#port.send(this.#sealer.seal(envelope));
    return envelope;
  }

  /** From now on under a new key, which is returned; the old one is not wiped, for notices with it may be on their way. */
  rotate(): FleetKey {
    this.#sealer = new FleetSealer(generateFleetKey(this.#sealer.fleetKey));
    return this.#sealer.fleetKey;
  }

  close(): void {
    this.#port.close();
  }
}
