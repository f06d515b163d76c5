import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { generateIdentity } from "../../../src/core/identity.ts";
import { openTickets } from "../../../src/minion/ticket-file.ts";
import { OpeningTickets } from "../../../src/wire/opening-ticket.ts";

const DAY_MS = 86_400_000;
const master = generateIdentity();
const minion = generateIdentity().public;
let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-tickets-"));
  path = join(directory, "tickets");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const issuedAt = (now: number) => new OpeningTickets(master, { now: () => now }).issue("web1", minion);
const fail = (error: unknown) => {
  throw error;
};

test("a ticket outlives a restart of the minion; the file is written once a day, not with each session", async () => {
  const first = issuedAt(DAY_MS);
  const tickets = await openTickets(path, fail);
  expect(tickets.of(master.public)).toBeUndefined();
  tickets.keep(master.public, first);
  expect(tickets.of(master.public)).toEqual(first);
  await vi.waitFor(async () => expect((await openTickets(path, fail)).of(master.public)).toEqual(first));
  const text = readFileSync(path, "utf8");
  const second = issuedAt(DAY_MS + 3_600_000);
  tickets.keep(master.public, second);
  expect(tickets.of(master.public)).toEqual(second);
  const third = issuedAt(3 * DAY_MS);
  tickets.keep(master.public, third);
  await vi.waitFor(async () => expect((await openTickets(path, fail)).of(master.public)).toEqual(third));
  expect(text).not.toBe(readFileSync(path, "utf8"));
});

test.each(["", "{", "[]", '{"SHA256:x":"AAAA"}', '{"SHA256:x":7}', "\0\0"])(
  "a file that holds %j is as good as none",
  async (text) => {
    writeFileSync(path, text);
    const tickets = await openTickets(path, fail);
    expect(tickets.of(master.public)).toBeUndefined();
  },
);

test("of many masters the latest are kept", async () => {
  // the directory may be gone before the last one is written
  const tickets = await openTickets(path, () => {});
  const masters = Array.from({ length: 20 }, () => generateIdentity().public);
  for (const each of masters) tickets.keep(each, issuedAt(DAY_MS));
  expect(masters.map((each) => tickets.of(each) !== undefined)).toEqual(masters.map((_, index) => index >= 4));
});

test("a directory that takes no file is reported, and the ticket is used all the same", async () => {
  const reported: unknown[] = [];
  const tickets = await openTickets(join(directory, "none", "tickets"), (error) => reported.push(error));
  tickets.keep(master.public, issuedAt(DAY_MS));
  await vi.waitFor(() => expect(reported).toHaveLength(1));
  expect(tickets.of(master.public)).toBeDefined();
});
