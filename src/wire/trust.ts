import { fingerprint, parseFingerprint, type PublicIdentity, sameIdentity } from "../core/identity.ts";
import type { MasterTrust } from "./endpoints.ts";

/** Whether a master is the one this minion was told of, and whether it was seen for the first time. */
export type Belief =
  | { readonly kind: "known" }
  | { readonly kind: "new" }
  | { readonly kind: "wrong"; readonly expected: string; readonly found: string };

/** What an operator reads when nothing was configured that could be expected. */
const NOTHING_PINNED = "no fingerprint is configured";

/** Decides on a master that has proven its keys: by fingerprint, else by memory, else first use if that is allowed. */
export class MasterPin {
  readonly #trust: MasterTrust;
  readonly #fingerprints: readonly string[];
  readonly #known: PublicIdentity[];

  /** Throws ConfigError `bad-fingerprint`. */
  constructor(trust: MasterTrust) {
    this.#trust = trust;
    this.#fingerprints = trust.fingerprints.map((text) => parseFingerprint(text));
    this.#known = trust.known.filter(
      (master) => this.#fingerprints.length === 0 || this.#fingerprints.includes(fingerprint(master)),
    );
  }

  /** A believed master whose key is known in full, so that IK can be tried. */
  get known(): PublicIdentity | undefined {
    return this.#known[0];
  }

  judge(master: PublicIdentity): Belief {
    if (this.#known.some((known) => sameIdentity(known, master))) return { kind: "known" };
    const found = fingerprint(master);
    if (this.#fingerprints.length > 0) {
      const expected = this.#fingerprints.join(" or ");
      return this.#fingerprints.includes(found) ? { kind: "new" } : { kind: "wrong", expected, found };
    }
    if (this.#known.length > 0) {
      return { kind: "wrong", expected: this.#known.map((known) => fingerprint(known)).join(" or "), found };
    }
    return this.#trust.firstUse ? { kind: "new" } : { kind: "wrong", expected: NOTHING_PINNED, found };
  }

  /** Keeps a master judged `new`. */
  async remember(master: PublicIdentity): Promise<void> {
    await this.#trust.remember(master);
    this.#known.push(master);
  }
}
