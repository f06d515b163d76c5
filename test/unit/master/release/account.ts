import assert from "node:assert/strict";
import type { SigningKey } from "../../../../src/core/crypto/ed25519.ts";
import type { LeasePurpose } from "../../../../src/core/lease-purpose.ts";
import type { HandClock } from "../fakes.ts";

/** One lease that is asked for. */
export interface Ask {
  readonly boot: string;
  readonly purpose: LeasePurpose;
  readonly device: string;
}

/** Two of three lift a hold; one open a boot and volume and three leases a day are free, also to check and to format. */
export const POLICY = {
  rules: [
    { name: "lax", match: { purposes: ["check", "format"] } },
    {
      name: "once",
      match: { purposes: ["open"] },
      require: { once_a_boot: true, budget_per_day: 3, announced_reboot: true },
      lift: { count: 2, of: ["ann", "bob", "cid"] },
    },
  ],
};
/** Milliseconds of a day. */
export const DAY_MS = 86_400_000;
const COVERED: ReadonlySet<LeasePurpose> = new Set(["check", "format", "open"]);

interface Approved {
  readonly by: string;
  readonly key: SigningKey;
  readonly ask: Ask;
  readonly expires: number;
}

interface Push {
  readonly by: string;
  readonly jid: string;
  readonly boot: string;
  ended?: number;
  next?: string;
  until: number;
}

const isSame = (a: Omit<Ask, "boot">, b: Omit<Ask, "boot">) => a.purpose === b.purpose && a.device === b.device;

/** What may be released under `POLICY`, kept in the plainest way: what it does not cover must not come out. */
export class Account {
  /** The boot that the host last asked from. */
  boot: string;
  isRevoked = false;
  readonly #clock: HandClock;
  readonly #keys: ReadonlyMap<string, SigningKey>;
  #approved: Approved[] = [];
  readonly #releases: (Ask & { readonly at: number })[] = [];
  // a denial lasts a day at most, and until the host asks in another boot
  #denied: { readonly ask: Ask; readonly until: number }[] = [];
  readonly #pushes: Push[] = [];
  #announced:
    | { readonly by: string; readonly until: number; readonly from: string; boot: string | undefined }
    | undefined;

  constructor(clock: HandClock, keys: ReadonlyMap<string, SigningKey>, boot: string) {
    this.#clock = clock;
    this.#keys = keys;
    this.boot = boot;
  }

  /** A request comes from this boot: jobs of another boot that run, or ended a moment ago, led to it. */
  follow(boot: string): void {
    this.boot = boot;
    const now = this.#clock.now();
    for (const push of this.#pushes) {
      if (push.boot === boot || push.next !== undefined || now >= push.until) continue;
      push.next = boot;
      push.until = now + DAY_MS;
    }
  }

  /** Who announced the reboot that a held request comes from has asked for it, also when the window is over. */
  held(ask: Ask): void {
    const askers = this.#askers(ask.boot);
    const isTheirs = (one: Approved) => isSame(one.ask, ask) && one.ask.boot === ask.boot && askers.includes(one.by);
    this.#approved = this.#approved.filter((one) => !isTheirs(one));
  }

  /** Something else than a no was said to this: a denial in another boot is over. */
  heardNoDenial(ask: Ask): void {
    this.#denied = this.#denied.filter((one) => !isSame(one.ask, ask) || one.ask.boot === ask.boot);
  }

  /** Fails unless the account covers a release now, and books it. */
  book(ask: Ask): void {
    const now = this.#clock.now();
    const { boot, device, purpose } = ask;
    assert(!this.isRevoked, "a key came out although it was revoked");
    assert(COVERED.has(purpose), "a key came out for a purpose that no rule knows");
    const isDenied = this.#denied.some((one) => isSame(one.ask, ask) && one.ask.boot === boot && now < one.until);
    assert(!isDenied, "a key came out although it was denied");
    const last = this.#releases.at(-1);
    const opens = this.#releases.filter((one) => one.purpose === "open" && one.boot === boot && one.device === device);
    const isOnce = purpose === "check" || opens.length === 0;
    const inDay = this.#releases.filter(({ at }) => at > now - DAY_MS).length;
    const isKnown = last === undefined || last.boot === boot;
    const isAnnounced = this.#window(boot) !== undefined && this.#announced?.from !== boot;
    const isFree = isOnce && inDay < 3 && (isKnown || isAnnounced);
    const askers = this.#askers(boot);
    const who = this.#approved
      .filter((one) => isSame(one.ask, ask) && one.ask.boot === boot)
      .filter((one) => one.expires > now && this.#keys.get(one.by) === one.key)
      .filter(({ by }) => by !== "eve" && !askers.includes(by));
    assert(isFree || new Set(who.map(({ by }) => by)).size >= 2, "a key came out without the approvals it needs");
    this.#approved = this.#approved.filter((one) => !isSame(one.ask, ask));
    this.#releases.push({ ...ask, at: now });
    if (this.#announced && isAnnounced && last?.boot !== boot) this.#announced.boot ??= boot;
  }

  approved(by: string, key: SigningKey, ask: Ask, expires: number): void {
    this.#approved.push({ by, key, ask, expires });
  }

  announced(by: string, until: number): void {
    this.#announced = { by, until, from: this.boot, boot: undefined };
  }

  denied(ask: Ask, until: number): void {
    this.#denied = [...this.#denied.filter((one) => !isSame(one.ask, ask)), { ask, until }];
    this.#approved = this.#approved.filter((one) => !isSame(one.ask, ask));
  }

  revoked(isRevoked: boolean): void {
    this.isRevoked = isRevoked;
    // what waited or was denied is forgotten with it
    this.#approved = [];
    this.#denied = [];
  }

  /** An operator pushes a job that runs on the host from now on; returns its number. */
  pushed(by: string): string {
    const jid = String(this.#pushes.length).padStart(20, "0");
    this.#pushes.push({ by, jid, boot: this.boot, until: this.#clock.now() + DAY_MS });
    return jid;
  }

  /** The oldest job that runs returns: its number. */
  finished(): string | undefined {
    const push = this.#pushes.find(({ ended }) => ended === undefined);
    if (!push) return undefined;
    push.ended = this.#clock.now();
    if (push.next === undefined) push.until = push.ended + 900_000;
    return push.jid;
  }

  /** The announcement that has to do with this boot. */
  #window(boot: string) {
    const window = this.#announced;
    return window && this.#clock.now() < window.until && (window.boot ?? boot) === boot ? window : undefined;
  }

  /** Who made the host ask in this boot. */
  #askers(boot: string): string[] {
    const now = this.#clock.now();
    const led = this.#pushes.filter(({ until, next, boot: at, ended }) => {
      return now < until && (next === boot || (at === boot && ended === undefined));
    });
    const window = this.#window(boot);
    return [...led.map(({ by }) => by), ...(window ? [window.by] : [])];
  }
}
