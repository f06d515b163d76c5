import { readFile, rename, writeFile } from "node:fs/promises";
import { isJsonObject } from "../core/json.ts";
import { fingerprint, type PublicIdentity } from "../core/identity.ts";
import type { MasterTickets } from "../wire/endpoints.ts";
import { TICKET_RENEWAL_MS, ticketTime } from "../wire/opening-ticket.ts";

/** Masters whose tickets are kept; the one that gave none for longest is left out first. */
const MAX_MASTERS = 16;

/**
 * Tickets of masters in a file: read once, and written anew, off everybody's way and without a sync, when one is a day newer
 * than what the file has. What is damaged or lost is not missed: the next session brings another.
 */
export async function openTickets(path: string, report: (error: unknown) => void): Promise<MasterTickets> {
  const kept = await readTickets(path);
  const tickets = new Map(kept);
  let writing = Promise.resolve();
  return {
    of: (master) => tickets.get(fingerprint(master)),
    keep: (master: PublicIdentity, ticket) => {
      const name = fingerprint(master);
      tickets.delete(name);
      tickets.set(name, ticket);
      if (tickets.size > MAX_MASTERS) tickets.delete(tickets.keys().next().value ?? "");
      if (!isDue(kept.get(name), ticket)) return;
      kept.set(name, ticket);
      writing = writing.then(async () => write(path, tickets)).catch(report);
    },
  };
}

function isDue(before: Uint8Array | undefined, ticket: Uint8Array): boolean {
  const known = before && ticketTime(before);
  const time = ticketTime(ticket);
  return time !== undefined && (known === undefined || Math.abs(time - known) >= TICKET_RENEWAL_MS / 2);
}

async function readTickets(path: string): Promise<Map<string, Uint8Array>> {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    const entries = isJsonObject(value) ? Object.entries(value) : [];
    return new Map(
      entries.flatMap(([name, text]) => {
        const ticket = Buffer.from(typeof text === "string" ? text : "", "base64");
        return ticketTime(ticket) === undefined ? [] : [[name, ticket]];
      }),
    );
  } catch {
    return new Map();
  }
}

async function write(path: string, tickets: ReadonlyMap<string, Uint8Array>): Promise<void> {
  const text = [...tickets].map(([name, ticket]) => [name, Buffer.from(ticket).toString("base64")]);
  const fresh = `${path}.new`;
  await writeFile(fresh, JSON.stringify(Object.fromEntries(text)), { mode: 0o600 });
  await rename(fresh, path);
}
