import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Crowd, type CrowdBounds } from "../../../../src/wire/zmtp/crowd.ts";

interface One {
  readonly name: string;
  readonly network: string;
  age: number;
}

class Door {
  readonly in: One[] = [];
  readonly crowd: Crowd<One>;

  constructor(bounds: CrowdBounds) {
    this.crowd = new Crowd<One>(bounds);
  }

  /** Who had to leave for it, itself if there was no room. */
  come(name: string, network = name, age = 10): string {
    const leaving = this.crowd.whoLeavesFor(network);
    if (leaving === "itself") return name;
    if (leaving !== "nobody") this.leave(leaving);
    const one = { name, network, age };
    this.in.push(one);
    this.crowd.enter(one, network);
    return leaving === "nobody" ? "" : leaving.name;
  }

  leave(one: One): void {
    this.in.splice(this.in.indexOf(one), 1);
    this.crowd.leave(one, one.network);
  }

  settle(name: string): void {
    for (const one of this.in) if (one.name === name) this.crowd.settle(one, one.network);
  }
}

test("when it is full the oldest of the most crowded network leaves, and nobody who came alone", () => {
  const door = new Door({ all: 100, strangers: 5, strangersOfNetwork: 4 });
  expect(["honest", "a1", "a2", "b1", "b2"].map((name) => door.come(name, name[0]))).toEqual(["", "", "", "", ""]);
  expect(door.come("a3", "a")).toBe("a1");
  expect(door.come("b3", "b")).toMatch(/^[ab]/u);
  for (let n = 0; n < 50; n += 1) expect(door.come(`a${n + 4}`, "a")).not.toBe("honest");
  expect(door.come("also honest")).toMatch(/^[ab]/u);
  expect(door.in.map(({ name }) => name)).toContain("honest");
});

test("where all came alone the oldest leaves", () => {
  const door = new Door({ all: 100, strangers: 3, strangersOfNetwork: 2 });
  for (const name of ["a", "b", "c"]) door.come(name);
  expect(door.come("d")).toBe("a");
});

test("those with a session are pushed out by nobody: without room for others the newcomer stays outside", () => {
  const door = new Door({ all: 3, strangers: 3, strangersOfNetwork: 3 });
  for (const name of ["a", "b", "c"]) {
    door.come(name, "same");
    door.settle(name);
  }
  expect(door.come("d")).toBe("d");
  expect(door.crowd.counts()).toEqual({ sessions: 3, strangers: 0, most: 3 });
});

test("in a network that is full one that was idle for a while makes room, a fresh one does not", () => {
  const door = new Door({ all: 100, strangers: 100, strangersOfNetwork: 2 });
  door.come("a1", "a", 1);
  door.come("a2", "a", 1);
  expect(door.come("a3", "a")).toBe("a3");
  for (const one of door.in) one.age = 2;
  expect(door.come("a3", "a")).toBe("a1");
});

test("however they come, settle and go, the counts stay true and within their bounds", () => {
  const step = fc.record({ act: fc.constantFrom("come", "come", "settle", "leave"), who: fc.nat({ max: 30 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const bounds = { all: 12, strangers: 6, strangersOfNetwork: 3 };
      const door = new Door(bounds);
      const settled = new Set<One>();
      for (const [index, { act, who }] of steps.entries()) {
        const one = door.in[who % Math.max(1, door.in.length)];
        if (act === "come") door.come(String(index), `net${who % 5}`, who % 4);
        else if (one && act === "leave") door.leave(one);
        else if (one && !settled.has(one)) {
          settled.add(one);
          door.crowd.settle(one, one.network);
        }
        const strangers = door.in.filter((other) => !settled.has(other));
        const sessions = door.in.length - strangers.length;
        expect(door.crowd.counts()).toEqual({ sessions, strangers: strangers.length, most: bounds.all });
        expect(strangers.length).toBeLessThanOrEqual(bounds.strangers);
        expect(door.in.length).toBeLessThanOrEqual(bounds.all);
      }
    }),
  );
});
