import type { Clock } from "../core/clock.ts";
import { errorMessage, TransportError } from "../core/errors.ts";

const LOOKUP_MS = 5000;
/** Addresses of one name that are tried. */
const MAX_ADDRESSES = 4;
const NUMBER = /^\d{1,3}(?:\.\d{1,3}){3}$|:/u;

/** Addresses of masters' names, as the system knows them at that moment. */
export class Resolver {
  readonly #clock: Clock;
  /** The system's look-ups cannot be ended: one that hangs is waited for again, and never begun a second time beside it. */
  readonly #going = new Map<string, Promise<readonly string[]>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * The addresses of a host, IPv4 first; of one that is an address already, that. Throws TransportError `unknown-host` when
   * there is none, or within five seconds no answer; rejects when the signal aborts.
   */
  async resolve(host: string, signal: AbortSignal): Promise<readonly string[]> {
    const plain = host.replaceAll(/^\[|\]$/gu, "");
    if (NUMBER.test(plain)) return [plain];
    const done = new AbortController();
    const late = async (): Promise<never> => {
      await this.#clock.sleep(LOOKUP_MS, AbortSignal.any([signal, done.signal]));
      throw unknown(host, `no answer within ${LOOKUP_MS / 1000} seconds`);
    };
    try {
      return await Promise.race([this.#lookUp(host), late()]);
    } finally {
      done.abort();
    }
  }

  async #lookUp(host: string): Promise<readonly string[]> {
    const going = this.#going.get(host) ?? ask(host).finally(() => this.#going.delete(host));
    this.#going.set(host, going);
    // the deadline may have passed when it fails
    going.catch(() => {});
    return going;
  }
}

async function ask(host: string): Promise<readonly string[]> {
  // loaded for a name alone: it does not belong into the snapshot that minions begin with
  const { lookup } = await import("node:dns/promises");
  try {
    const found = await lookup(host, { all: true, order: "ipv4first" });
    return found.slice(0, MAX_ADDRESSES).map(({ address }) => address);
  } catch (error) {
    throw unknown(host, errorMessage(error));
  }
}

function unknown(host: string, why: string): TransportError {
  return new TransportError("unknown-host", `cannot find the address of "${host}": ${why}`);
}
