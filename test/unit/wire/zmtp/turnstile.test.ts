import { expect, test } from "vitest";
import { MAX_WAITING_BYTES, type Passenger, Turnstile } from "../../../../src/wire/zmtp/turnstile.ts";

/** Time that passes only for who sleeps. */
function clock() {
  let ms = 0;
  return {
    now: () => ms,
    monotonicMs: () => ms,
    sleep: async (by: number) => {
      ms += by;
      return Promise.resolve();
    },
  };
}

class Waiting implements Passenger {
  waitingBytes: number;
  readonly #name: string;
  readonly #served: string[];

  constructor(name: string, bytes: number, served: string[]) {
    this.#name = name;
    this.waitingBytes = bytes;
    this.#served = served;
  }

  takeTurn(bytes: number): void {
    this.waitingBytes = Math.max(0, this.waitingBytes - bytes);
    this.#served.push(this.#name);
  }
}

const turns = async (done: () => boolean) => {
  for (let turn = 0; turn < 100_000 && !done(); turn += 1) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
};

test("networks take turns: many from one cost another a place each", async () => {
  const served: string[] = [];
  const turnstile = new Turnstile<Waiting>(clock());
  for (let n = 0; n < 10; n += 1) turnstile.enter(new Waiting("flood", 60_000, served), "a", 60_000);
  const honest = new Waiting("honest", 3000, served);
  turnstile.enter(honest, "b", 3000);
  await turns(() => honest.waitingBytes === 0);
  expect(served).toEqual(["flood", "honest", "flood", "honest"]);
});

test("so many bytes at once, then so many a second", async () => {
  const served: string[] = [];
  const time = clock();
  const turnstile = new Turnstile<Waiting>(time);
  const one = new Waiting("flood", 1024 * 1024, served);
  turnstile.enter(one, "a", one.waitingBytes);
  await turns(() => one.waitingBytes === 0);
  expect(served).toHaveLength(512);
  expect(time.now()).toBeGreaterThan(3700);
});

test("what waits is bounded, and who left makes room", () => {
  const turnstile = new Turnstile<Waiting>(clock());
  const one = new Waiting("one", MAX_WAITING_BYTES, []);
  expect(turnstile.enter(one, "a", MAX_WAITING_BYTES)).toBe(true);
  expect(turnstile.enter(new Waiting("two", 1, []), "b", 1)).toBe(false);
  turnstile.leave(one, "a");
  expect(turnstile.enter(new Waiting("three", 1, []), "b", 1)).toBe(true);
});
