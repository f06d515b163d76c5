import { beforeEach, expect, test } from "vitest";
import { generateIdentity, type PublicIdentity } from "../../../src/core/identity.ts";
import { Drops } from "../../../src/wire/drop-counters.ts";
import { decodeFrame, type Opening } from "../../../src/wire/frames.ts";
import { OpeningTickets } from "../../../src/wire/opening-ticket.ts";
import { Reception } from "../../../src/wire/reception.ts";
import { HandClock } from "../master/fakes.ts";

const NONE = Buffer.alloc(0);
const HONEST = "192.0.2.1";
const master = generateIdentity();
let clock: HandClock;
let drops: Drops;
let tickets: OpeningTickets;
let holders: Map<string, PublicIdentity>;
let served: string[];
let cookies: Buffer[];
let turns: (() => void)[];
let sleeping: (() => void)[];
let reception: Reception;

beforeEach(() => {
  clock = new HandClock();
  drops = new Drops();
  tickets = new OpeningTickets(master, clock);
  holders = new Map();
  served = [];
  cookies = [];
  turns = [];
  sleeping = [];
  reception = new Reception({
    clock: {
      now: () => clock.now(),
      monotonicMs: () => clock.monotonicMs(),
      sleep: async () => new Promise((resolve) => sleeping.push(resolve)),
    },
    drops,
    tickets,
    addressOf: (route) => route.toString(),
    holder: (id) => holders.get(id),
    send: async (_route, frame) => {
      const hint = decodeFrame(Buffer.from(frame));
      if (typeof hint !== "string" && hint.kind === "cookie-hint") cookies.push(hint.cookie);
      return true;
    },
    serve: async (_route, { minionId }) => void served.push(minionId),
    report: (_message, error) => {
      throw error;
    },
    later: (step) => void turns.push(step),
  });
});

let ephemeral = 0;
const opening = (minionId: string, more: Partial<Opening> = {}): Opening => {
  ephemeral += 1;
  const noise = Buffer.alloc(32);
  noise.writeUInt32BE(ephemeral);
  return { kind: "ik1", minionId, ticket: NONE, cookie: NONE, noise, ...more };
};
const arrive = async (address: string, frame: Opening) => reception.arrive(Buffer.from(address), frame);
/** One turn of the event loop; how many were served in it. */
async function turn(): Promise<number> {
  const before = served.length;
  for (const step of [...turns.splice(0), ...sleeping.splice(0)]) step();
  await Promise.resolve();
  await Promise.resolve();
  return served.length - before;
}
const flood = async (count: number, address = (n: number) => `198.51.100.${n % 250}`) => {
  for (let n = 0; n < count; n += 1) await arrive(address(n), opening(`bot${n}`));
};
const ticketOf = (id: string) => {
  const holder = generateIdentity().public;
  holders.set(id, holder);
  return tickets.issue(id, holder);
};

test("without load a stranger is served at once and asked for nothing", async () => {
  await arrive(HONEST, opening("web1"));
  expect(await turn()).toBe(1);
  expect(cookies).toEqual([]);
});

test("under a flood a stranger pays with a round trip, and what is served a turn and a second is bounded", async () => {
  await flood(10_000);
  // openings without a cookie were served, or wait, until there was load; from then on they cost a MAC each
  expect(drops.snapshot()["cookie-asked"]).toBeGreaterThan(9900);
  expect(reception.size).toBeLessThan(40);
  expect(await turn()).toBeLessThanOrEqual(4);
  for (let turns = 0; turns < 20; turns += 1) await turn();
  served = [];
  cookies = [];
  const honest = opening("web1");
  await arrive(HONEST, honest);
  expect(cookies).toHaveLength(1);
  await arrive(HONEST, { ...honest, cookie: cookies[0] ?? NONE });
  await turn();
  expect(served).toContain("web1");
});

test("strangers with cookies are served so many a second and no more, networks in turns", async () => {
  const pay = async (address: string, id: string) => {
    const frame = opening(id);
    cookies = [];
    await arrive(address, frame);
    if (cookies[0]) await arrive(address, { ...frame, cookie: cookies[0] });
  };
  let work = 0;
  for (let second = 0; second < 3; second += 1) {
    for (let step = 0; step < 100; step += 1) {
      for (let n = 0; n < 20; n += 1) await pay("198.51.100.1", "bot");
      work += await turn();
      clock.time += 10;
    }
  }
  // 256 at once, then 400 a second
  expect(work).toBeLessThanOrEqual(256 + 3 * 400);
  await pay(HONEST, "web1");
  for (let step = 0; step < 3; step += 1) {
    clock.time += 10;
    await turn();
  }
  expect(served).toContain("web1");
});

test("known hosts are served first and without a round trip, whatever waits besides", async () => {
  await flood(2000);
  for (let n = 0; n < 100; n += 1) {
    const id = `web${n}`;
    await arrive(HONEST, opening(id, { ticket: ticketOf(id) }));
  }
  cookies = [];
  let early = 0;
  for (let n = 0; n < 40; n += 1) {
    const before = served.length;
    expect(await turn()).toBeLessThanOrEqual(16);
    expect(served.slice(before).filter((id) => id.startsWith("bot")).length).toBeLessThanOrEqual(4);
    if (n === 8) early = served.filter((id) => id.startsWith("web")).length;
  }
  // no more turns than they need beside what waits besides
  expect(early).toBe(100);
  const honest = served.filter((id) => id.startsWith("web"));
  expect(honest).toHaveLength(100);
  expect(cookies).toEqual([]);
});

test("a stolen ticket buys its own id's share and starves no other host; a false one buys nothing", async () => {
  const stolen = ticketOf("web1");
  for (let n = 0; n < 5000; n += 1) await arrive("198.51.100.1", opening("web1", { ticket: stolen }));
  await arrive(HONEST, opening("web2", { ticket: ticketOf("web2") }));
  await arrive(HONEST, opening("web3", { ticket: stolen }));
  for (let n = 0; n < 20; n += 1) await turn();
  expect(served).toContain("web2");
  expect(served).not.toContain("web3");
  expect(served.filter((id) => id === "web1").length).toBeLessThanOrEqual(32 + 64);
  // rejected: the ticket is worth nothing from then on
  holders.delete("web2");
  served = [];
  await arrive(HONEST, opening("web2", { ticket: tickets.issue("web2", generateIdentity().public) }));
  await turn();
  expect(served).not.toContain("web2");
});

test("when the flood ends nobody is asked for a cookie any more", async () => {
  await flood(1000);
  for (let n = 0; n < 20; n += 1) await turn();
  clock.time += 6000;
  cookies = [];
  served = [];
  await arrive(HONEST, opening("web1"));
  await turn();
  expect(cookies).toEqual([]);
  expect(served).toContain("web1");
});

test("recorded openings with the tickets of many hosts take a bounded share; beyond it a ticket is worth a stranger's place", async () => {
  const recorded = Array.from({ length: 300 }, (_, n) => opening(`web${n}`, { ticket: ticketOf(`web${n}`) }));
  const replay = async (times: number) => {
    for (let n = 0; n < times; n += 1) for (const frame of recorded) await arrive("198.51.100.1", frame);
  };
  await replay(32);
  for (let turns = 0; turns < 1500; turns += 1) await turn();
  for (let second = 0; second < 3; second += 1) {
    clock.time += 1000;
    await replay(16);
    for (let turns = 0; turns < 700; turns += 1) await turn();
  }
  // 4,096 at once, then 1,000 a second, and what any stranger gets
  expect(served.length).toBeLessThanOrEqual(4096 + 3 * 1000 + 256 + 3 * 400);
  // a host that had a session pays with a round trip then, and has its own network's turn
  const honest = opening("db1", { ticket: ticketOf("db1") });
  cookies = [];
  await arrive(HONEST, honest);
  expect(cookies).toHaveLength(1);
  await arrive(HONEST, { ...honest, cookie: cookies[0] ?? NONE });
  clock.time += 10;
  for (let turns = 0; turns < 3; turns += 1) await turn();
  expect(served).toContain("db1");
});
