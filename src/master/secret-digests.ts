import type { AgeIdentity } from "../core/age-identity.ts";
import { hkdfSha256, hmacSha256 } from "../core/crypto/hash.ts";
import type { Secret } from "../core/secret.ts";

const LABEL = Buffer.from("latchkey secret digest v1");

/**
 * Digests by which equal values are found without opening any. They are keyed with the master's identity: a stolen store
 * gives nothing to try passphrases on.
 */
export class SecretDigests {
  readonly #identity: AgeIdentity;
  readonly #keys = new Map<string, Buffer>();

  constructor(identity: AgeIdentity) {
    this.#identity = identity;
  }

  /** The digest of a value at its place, hex. */
  of(minionId: string, path: string, secret: Secret): string {
    return this.#digest(this.#identity, minionId, path, secret);
  }

  /** That one, and those that a value stored before the identity was replaced may still carry. */
  everyOf(minionId: string, path: string, secret: Secret): readonly string[] {
    const identities = [this.#identity, ...(this.#identity.older ?? [])];
    for (const [recipient, key] of this.#keys) {
      if (identities.some((identity) => identity.recipient === recipient)) continue;
      // of an identity that was destroyed meanwhile
      key.fill(0);
      this.#keys.delete(recipient);
    }
    return identities.map((identity) => this.#digest(identity, minionId, path, secret));
  }

  #digest(identity: AgeIdentity, minionId: string, path: string, secret: Secret): string {
    const input = Buffer.concat([Buffer.from(`${minionId}\n${path}\n`), secret.expose()]);
    const digest = hmacSha256(this.#key(identity), input).toString("hex");
    input.fill(0);
    return digest;
  }

  #key({ recipient, key: own }: AgeIdentity): Buffer {
    const known = this.#keys.get(recipient);
    if (known) return known;
    const shared = own.agree(own.publicKey);
    const key = hkdfSha256(shared, Buffer.alloc(0), LABEL, 32);
    shared.fill(0);
    this.#keys.set(recipient, key);
    return key;
  }
}
