import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ApprovalStatement } from "../../../../src/core/operator-statement.ts";
import { type Ask, DAY_MS, POLICY } from "./account.ts";
import { APPROVAL_MS, BOOTS, DEVICES, NAMES, World } from "./world.ts";

let directory: string;
let policyPath: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-orderings-"));
  policyPath = join(directory, "release.yaml");
  writeFileSync(policyPath, JSON.stringify(POLICY));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

type Step = (world: World) => Promise<unknown>;
const say = (name: string, step: Step): Step => Object.assign(step, { toString: () => name });
/** Mostly an open of the one volume: else too little is asked for twice. */
const asked: fc.Arbitrary<Ask> = fc.record({
  boot: fc.constantFrom(...BOOTS),
  purpose: fc.constantFrom("open", "open", "open", "open", "format", "check", "check", "rotate"),
  device: fc.constantFrom(DEVICES[0], DEVICES[0], DEVICES[0], DEVICES[1]),
});
const IN_A: Ask = { boot: "boot-a", purpose: "open", device: DEVICES[0] };
const askText = ({ boot, purpose, device }: Ask) => `${purpose} ${device} in ${boot}`;
const name = fc.constantFrom(...NAMES);
const wrong = fc.constantFrom<Partial<ApprovalStatement>>(
  { expires: 1 },
  { minion: "web2" },
  { secret: "other" },
  { bootId: "boot-z" },
  { reasons: "0" },
  { master: "SHA256:other" },
);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: asked.map((at) => say(`ask ${askText(at)}`, async (world) => world.ask(at))) },
  { weight: 2, arbitrary: asked.map((at) => say(`ask twice ${askText(at)}`, async (world) => world.ask(at, 2))) },
  { weight: 2, arbitrary: fc.nat(20).map((at) => say(`ask again ${at}`, async (world) => world.askAgain(at))) },
  { weight: 1, arbitrary: fc.constant(say("reconnect", async (world) => world.reconnect())) },
  { weight: 6, arbitrary: name.map((by) => say(`approve ${by}`, async (world) => world.approve(by, {}, by))) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(name, wrong)
      .map(([by, change]) =>
        say(`wrong ${by} ${JSON.stringify(change)}`, async (world) => world.approve(by, change, by)),
      ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(name, name)
      .filter(([by, signer]) => by !== signer)
      .map(([by, signer]) => say(`forge ${by} by ${signer}`, async (world) => world.approve(by, {}, signer))),
  },
  { weight: 2, arbitrary: fc.nat(20).map((at) => say(`replay ${at}`, async (world) => world.replay(at))) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(name, fc.boolean())
      .map(([who, isThere]) => say(`operator ${who} ${isThere}`, async (world) => world.operator(who, isThere))),
  },
  { weight: 1, arbitrary: name.map((by) => say(`announce ${by}`, async (world) => world.announce(by))) },
  {
    weight: 1,
    arbitrary: fc.nat(5).map((at) => say(`announce again ${at}`, async (world) => world.announceAgain(at))),
  },
  { weight: 1, arbitrary: name.map((by) => say(`push ${by}`, async (world) => world.push(by))) },
  { weight: 1, arbitrary: fc.constant(say("the job returns", async (world) => world.finish())) },
  { weight: 1, arbitrary: fc.constant(say("deny", async (world) => world.deny())) },
  {
    weight: 1,
    arbitrary: fc.boolean().map((is) => say(is ? "revoke" : "allow", async (world) => world.revoke(is))),
  },
  { weight: 1, arbitrary: fc.constant(say("restart", async (world) => world.start())) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(60_000, 700_000, APPROVAL_MS, DAY_MS)
      .map((ms) => say(`wait ${ms}`, async (world) => void (world.clock.time += ms))),
  },
);

/** What mostly leads to a key, twice over, with something in between that must not. */
const approvedTwice = fc.tuple(asked, name, name, step, step, step).map(([at, one, other, ...between]) =>
  say(`approved ${askText(at)} by ${one} and ${other}, with ${between.join(", ")} in between`, async (world) => {
    for (const disturb of between) {
      await world.ask(at);
      await world.approve(one, {}, one);
      await disturb(world);
      await world.approve(other, {}, other);
      await world.ask(at);
    }
    await world.ask(at);
  }),
);

/** Held and approved; then something happens before the approvals are used, and something after it. */
const used = (at: Ask, one: string, other: string, before: Step, after: Step): Step =>
  say(
    `held ${askText(at)}, approved by ${one} and ${other}, ${[before, after].join(", asked, ")}, asked`,
    async (world) => {
      await world.ask(at);
      await world.ask(at);
      await world.approve(one, {}, one);
      await world.approve(other, {}, other);
      await before(world);
      await world.ask(at);
      await after(world);
      await world.ask(at);
    },
  );
const nothing = say("nothing", async () => {});
const restart = say("restart", async (world) => world.start());
const replaceKey = (who: string) => say(`new key of ${who}`, async (world) => world.replaceKey(who));
const strike = (who: string) => say(`strike ${who}`, async (world) => world.operator(who, false));
const announce = (by: string) => say(`announce ${by}`, async (world) => world.announce(by));
/** The asker is known by what was held, when nothing else tells of them any more. */
const announceForAWhile = (by: string, at: Ask) =>
  say(`announce ${by}, asked ${askText(at)}, the window over`, async (world) => {
    await world.announce(by);
    await world.ask(at);
    world.clock.time += 700_000;
  });
const push = (by: string) => say(`push ${by}`, async (world) => world.push(by));
/** The job is over when the held request is approved: that it ran when it was held is what counts. */
const pushForAWhile = (by: string, at: Ask) =>
  say(`push ${by}, asked ${askText(at)}, returned`, async (world) => {
    await world.push(by);
    await world.ask(at);
    world.finish();
  });
const die = (at: Ask, point: "recorded" | "resolved") =>
  say(`die when ${point} at ${askText(at)}`, async (world) => world.askAndDie(at, point));
const usedOnce = fc
  .tuple(asked, fc.shuffledSubarray(["ann", "bob", "cid"], { minLength: 2, maxLength: 2 }))
  .chain(([at, [one = "ann", other = "bob"]]) => {
    const disturb = fc.oneof(
      fc.constantFrom(nothing, restart, replaceKey(one), strike(other), announce(one), announce(other), push(one)),
      fc.constantFrom(die(at, "recorded"), die(at, "resolved"), announceForAWhile(one, at), pushForAWhile(one, at)),
      step,
    );
    return fc.tuple(disturb, disturb).map(([before, after]) => used(at, one, other, before, after));
  });
/** What a check that is left out lets through, each in its plainest form: tried every time. */
const examples: [Step[]][] = [
  [nothing, restart],
  [replaceKey("ann"), nothing],
  [strike("ann"), nothing],
  [announce("ann"), nothing],
  [announceForAWhile("ann", IN_A), nothing],
  [push("ann"), nothing],
  [push("bob"), restart],
  [pushForAWhile("ann", IN_A), nothing],
  [die(IN_A, "recorded"), restart],
  [die(IN_A, "resolved"), restart],
].map(([before = nothing, after = nothing]) => [[used(IN_A, "ann", "bob", before, after)]]);

const steps = fc.array(
  fc.oneof({ weight: 3, arbitrary: step }, { weight: 1, arbitrary: approvedTwice }, { weight: 1, arbitrary: usedOnce }),
  { minLength: 5, maxLength: 20 },
);

test.each([
  ["nothing comes in between", nothing, 2],
  ["the master dies before its record is on disk", die(IN_A, "resolved"), 2],
  ["the master dies after its record is on disk", die(IN_A, "recorded"), 1],
  ["the key of an operator is replaced", replaceKey("ann"), 1],
  ["an operator is struck off", strike("bob"), 1],
  ["an operator announces the reboot that they approved", announce("ann"), 1],
  ["an operator announced the reboot that they approved, and the window is over", announceForAWhile("ann", IN_A), 1],
  ["an operator pushes a job before what they approved is used", push("bob"), 1],
  ["an operator pushed the job during which it was asked for, and it returned", pushForAWhile("ann", IN_A), 1],
])("I4: approvals are used once: when %s", async (_what, before, released) => {
  const world = new World(policyPath);
  await world.start();
  for (const who of NAMES) await world.operator(who, true);
  await used(IN_A, "ann", "bob", before, restart)(world);
  // the first of a boot is free
  expect(world.released).toBe(released);
  world.close();
});

test("I4, I6: no ordering of requests, approvals, restarts and replays yields a key that the policy denies", async () => {
  let released = 0;
  let approved = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (acts) => {
      const world = new World(policyPath);
      await world.start();
      for (const who of NAMES) await world.operator(who, true);
      for (const act of acts) {
        await act(world);
        world.clock.time += 1;
      }
      released += world.released;
      approved += world.sent.length;
      world.close();
    }),
    { numRuns: 40, examples },
  );
  expect(released).toBeGreaterThan(20);
  expect(approved).toBeGreaterThan(20);
}, 30_000);
