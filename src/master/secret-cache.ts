import { decryptAge } from "../core/age-decrypt.ts";
import type { AgeIdentity } from "../core/age-identity.ts";
import type { Clock } from "../core/clock.ts";
import { sha256 } from "../core/crypto/hash.ts";
import { Secret } from "../core/secret.ts";

const TTL_MS = 5 * 60_000;
const SWEEP_MS = 30_000;
const MAX_ENTRIES = 4096;

interface Entry {
  readonly secret: Secret;
  readonly expiresAt: number;
}

/**
 * Opens age ciphertexts and keeps what it opened for five minutes, at most 4,096 secrets, each wiped when it leaves: a host
 * that boots asks twice or three times for the same key, and a fleet after a power cut asks for a few shared ones thousands
 * of times. The trade-off: who can read the master's memory finds recently leased keys there. He also finds the identity
 * that opens all of them, so the cache gives away time, not secrets.
 */
export class SecretCache implements Disposable {
  readonly #entries = new Map<string, Entry>();
  readonly #identity: AgeIdentity;
  readonly #clock: Clock;
  readonly #sweeper: NodeJS.Timeout;

  constructor(identity: AgeIdentity, clock: Clock) {
    this.#identity = identity;
    this.#clock = clock;
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_MS).unref();
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The secret in armored text, in a copy of the caller's own, to be wiped by the caller. Throws as `decryptAge` does. */
  open(armored: string): Secret {
    const key = sha256(Buffer.from(armored)).toString("latin1");
    const now = this.#clock.monotonicMs();
    const known = this.#entries.get(key);
    if (known && known.expiresAt > now) return copyOf(known.secret);
    const secret = decryptAge(armored, this.#identity);
    this.#drop(key);
    this.#entries.set(key, { secret, expiresAt: now + TTL_MS });
    const oldest = this.#entries.keys().next().value;
    if (this.#entries.size > MAX_ENTRIES && oldest !== undefined) this.#drop(oldest);
    return copyOf(secret);
  }

  /** Wipes what is kept of this ciphertext. */
  forget(armored: string): void {
    this.#drop(sha256(Buffer.from(armored)).toString("latin1"));
  }

  /** Wipes what is over its time; runs by itself twice a minute. */
  sweep(): void {
    const now = this.#clock.monotonicMs();
    for (const [key, { expiresAt }] of this.#entries) if (expiresAt <= now) this.#drop(key);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweeper);
    for (const key of this.#entries.keys()) this.#drop(key);
  }

  #drop(key: string): void {
    this.#entries.get(key)?.secret.wipe();
    this.#entries.delete(key);
  }
}

/** Another copy of a secret, with a life of its own. */
export function copyOf(secret: Secret): Secret {
  return Secret.take(Buffer.from(secret.expose()));
}
