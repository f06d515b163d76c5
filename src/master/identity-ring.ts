import type { AgeIdentity } from "../core/age-identity.ts";

/** The master's age identity as everybody in the process holds it, so that a new one is everybody's at once. */
export class IdentityRing implements AgeIdentity {
  #now: AgeIdentity;

  constructor(identity: AgeIdentity) {
    this.#now = identity;
  }

  get key(): AgeIdentity["key"] {
    return this.#now.key;
  }

  get recipient(): string {
    return this.#now.recipient;
  }

  get older(): readonly AgeIdentity[] {
    return this.#now.older ?? [];
  }

  /** From now on this one is used; what it replaces opens on as long as it is among its `older` ones. */
  renew(identity: AgeIdentity): void {
    this.#now = identity;
  }
}

/** The newest identity by itself: what it opens needs no other. */
export function newestOf({ key, recipient }: AgeIdentity): AgeIdentity {
  return { key, recipient };
}
