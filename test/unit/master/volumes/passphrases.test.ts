import { expect, test } from "vitest";
import { Secret } from "../../../../src/core/secret.ts";
import { Passphrases } from "../../../../src/master/volumes/passphrases.ts";
import { HandClock } from "../fakes.ts";

const TEXT = "a passphrase of the test";
const secret = () => Secret.take(Buffer.from(TEXT));

test("a passphrase is handed out once, to the minion that it is for", () => {
  using held = new Passphrases(new HandClock());
  const ticket = held.hold("web1", secret());
  expect(ticket).toMatch(/^[0-9a-f]{32}$/u);
  expect([held.has("web1", ticket), held.has("web2", ticket), held.take("web2", ticket)]).toEqual([
    true,
    false,
    undefined,
  ]);
  using taken = held.take("web1", ticket);
  expect(taken?.expose().toString()).toBe(TEXT);
  expect([held.has("web1", ticket), held.take("web1", ticket), held.size]).toEqual([false, undefined, 0]);
});

test("I5: it is wiped after five minutes, when there are too many, and when the master ends", () => {
  const clock = new HandClock();
  const old = secret();
  const last = secret();
  {
    using held = new Passphrases(clock);
    const ticket = held.hold("web1", old);
    clock.time += 5 * 60_000;
    held.sweep();
    expect([old.wiped, held.has("web1", ticket), held.size]).toEqual([true, false, 0]);
    for (let index = 0; index < 99; index += 1) held.hold("web1", secret());
    held.hold("web1", last);
    const beyond = secret();
    expect(() => held.hold("web1", beyond)).toThrow("cannot hold more than 100");
    expect([beyond.wiped, last.wiped]).toEqual([true, false]);
  }
  expect(last.wiped).toBe(true);
});
