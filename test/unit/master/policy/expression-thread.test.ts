import { afterEach, expect, test } from "vitest";
import type { Ask } from "../../../../src/master/policy/answers.ts";
import { ExpressionThread, type Overrun } from "../../../../src/master/policy/expression-thread.ts";
import { HandClock } from "../fakes.ts";

let thread: ExpressionThread | undefined;
afterEach(() => thread?.close());

function open(entry?: URL, deadlineMs = 30_000) {
  const clock = new HandClock();
  const overruns: Overrun[] = [];
  const made = new ExpressionThread({
    clock,
    deadlineMs,
    overran: (overrun) => overruns.push(overrun),
    ...(entry ? { entry } : {}),
  });
  thread = made;
  const ask = async (host: string, ...texts: readonly string[]) => made.evaluate(host, texts.map(askOf));
  return { thread: made, clock, overruns, ask };
}
const askOf = (text: string): Ask => {
  return {
    text,
    context: { instance: { name: "web1" }, claims: { grains: { rack: "r1" }, tooLarge: [] }, request: {} },
  };
};
const HANGING = new URL("./hanging-thread.ts", import.meta.url);

test("a real thread answers what it is asked, in order, and a bad expression harms no other", async () => {
  const { ask, overruns } = open();
  const answers = ask("web1", 'instance.name == "web1"', "instance.name == 1", 'instance.grains.rack == "r2"');
  expect(await answers).toEqual([{ holds: true }, { problem: expect.any(String) as string }, { holds: false }]);
  expect(await ask("web1", 'instance.grains.rack.matches("^r[0-9]$")')).toEqual([{ holds: true }]);
  expect(overruns).toEqual([]);
});

test.each([
  ["hang", "longer than 1000 ms"],
  ["throw", "it threw"],
  ["exit", "its thread ended"],
  ["fill", "memory limit"],
])("expressions that %s are ended with their thread, and those of others go on", async (text, problem) => {
  const { ask, overruns, thread: made } = open(HANGING, text === "hang" ? 1000 : 30_000);
  expect(await ask("good", "true")).toEqual([{ holds: true }]);
  const before = made.threadId;
  const [bad, good] = await Promise.all([ask("bad", text, "true"), ask("good", "true", "false")]);
  expect(bad).toEqual([{ problem: expect.stringContaining(problem) as string }, bad[0]]);
  expect(good).toEqual([{ holds: true }, { holds: false }]);
  expect(made.threadId).not.toBe(before);
  expect(overruns).toEqual([
    { host: "bad", problem: (bad[0] as { problem: string }).problem, expressions: [text, "true"] },
  ]);
});

test("who does nothing for long is not taken for one who computes: a machine may have no core for the thread", async () => {
  const { ask, overruns } = open(HANGING, 300);
  const [slow, hanging, other] = await Promise.all([
    ask("slow", "sleep", "true"),
    ask("bad", "hang"),
    ask("good", "true"),
  ]);
  expect(slow).toEqual([{ holds: false }, { holds: true }]);
  expect(hanging).toEqual([{ problem: expect.stringContaining("longer than 300 ms") as string }]);
  expect(other).toEqual([{ holds: true }]);
  expect(overruns.map(({ host }) => host)).toEqual(["bad"]);
});

test("hosts need not wait for each other's answers, and only the one that ends the thread pays for it", async () => {
  const { ask, overruns } = open(HANGING);
  await ask("good", "true");
  const hosts = Array.from({ length: 40 }, (_, n) => `web${n}`);
  const answers = await Promise.all(hosts.map(async (host, n) => ask(host, n === 5 ? "exit" : "true")));
  expect(answers.filter(([answer]) => answer && "holds" in answer && answer.holds)).toHaveLength(39);
  expect(overruns.map(({ host }) => host)).toEqual(["web5"]);
});

test("a host whose expressions were ended gets no answer for half a minute, others do", async () => {
  const { ask, clock, overruns } = open(HANGING);
  await ask("bad", "throw");
  clock.time += 29_000;
  expect(await ask("bad", "true")).toEqual([{ problem: "the host has used up its time for expressions" }]);
  expect(await ask("good", "true")).toEqual([{ holds: true }]);
  clock.time += 2000;
  expect(await ask("bad", "true")).toEqual([{ holds: true }]);
  expect(overruns).toHaveLength(1);
});

test("a host that asks much waits behind itself, and not without end", async () => {
  const { ask } = open(HANGING);
  const order: string[] = [];
  const asked = async (host: string) => {
    const [answer] = await ask(host, "true");
    order.push(host);
    return answer;
  };
  const many = Promise.all(Array.from({ length: 80 }, async () => asked("greedy")));
  await asked("modest");
  const after = order.filter((host) => host === "greedy").length;
  const answers = await many;
  expect(answers.filter((answer) => answer && "problem" in answer).length).toBeGreaterThan(0);
  // those that were turned away at once, and at most two that were begun
  expect(after).toBeLessThan(80 - 40);
});

test("a thread that does not start, and one that is closed, leave no one waiting", async () => {
  const missing = open(new URL("./no-such-file.ts", import.meta.url));
  expect(await missing.ask("web1", "true")).toEqual([
    { problem: expect.stringContaining("the thread for expressions failed") as string },
  ]);
  const { thread: made, ask } = open(HANGING);
  const waiting = ask("web1", "hang");
  made.close();
  expect(await waiting).toEqual([{ problem: "the master ends" }]);
  expect(await ask("web1", "true")).toEqual([{ problem: expect.any(String) as string }]);
});
