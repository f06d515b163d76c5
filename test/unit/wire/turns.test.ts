import { beforeEach, expect, test } from "vitest";
import { MAX_WAITING, MAX_WAITING_BYTES, TURN_US, Turns } from "../../../src/wire/turns.ts";

let coming: (() => void)[];
let turns: Turns;
let done: string[];
beforeEach(() => {
  coming = [];
  done = [];
  turns = new Turns((turn) => void coming.push(turn));
});

const ask = (id: string, us: number, bytes = 0) => turns.take(id, { us, bytes, work: () => void done.push(id) });
const turn = () => {
  done = [];
  for (const next of coming.splice(0)) next();
};

test("what comes while there is little to do is done at once, and leaves nothing behind", () => {
  ask("web1", 500);
  ask("web2", 500);
  expect(done).toEqual(["web1", "web2"]);
  turn();
  turn();
  expect(coming).toEqual([]);
});

test("one turn does so much work and no more; then each host has one request in its turn", () => {
  for (let n = 0; n < 100; n += 1) ask("bad", TURN_US / 4);
  ask("good", 500);
  ask("other", 500);
  expect(done).toHaveLength(4);
  turn();
  expect(done).toEqual(["bad", "good", "other", "bad", "bad"]);
  ask("good", 500);
  turn();
  expect(done).toEqual(["bad", "good", "bad", "bad"]);
});

test("a request that is larger than a turn has one to itself", () => {
  ask("bad", 20 * TURN_US);
  ask("bad", 20 * TURN_US);
  ask("good", 500);
  expect(done).toEqual(["bad"]);
  turn();
  expect(done).toEqual(["bad"]);
  turn();
  expect(done).toEqual(["good"]);
});

test("what of one host waits is bounded in number and bytes, and takes no room of others", () => {
  ask("bad", TURN_US);
  for (let n = 0; n < MAX_WAITING; n += 1) expect(ask("bad", TURN_US)).toBe(true);
  expect(ask("bad", TURN_US)).toBe(false);
  expect([ask("big", 1, MAX_WAITING_BYTES), ask("big", 1, 1), ask("good", 1)]).toEqual([true, false, true]);
});
