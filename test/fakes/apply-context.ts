import type { Json } from "../../src/core/json.ts";
import type { ApplyContext } from "../../src/states/state.ts";
import type { Host } from "../../src/core/host.ts";

/** A state's context on a host, mostly one in memory: its journal is a map, what it notes is a list, and it leases nothing. */
export interface FakeContext extends ApplyContext {
  readonly journal: Map<string, Json>;
  readonly noted: readonly string[];
}

/** Makes such a context; `more` takes the place of what it has. */
export function fakeContext(host: Host, more: Partial<ApplyContext> = {}): FakeContext {
  const journal = new Map<string, Json>();
  const noted: string[] = [];
  return {
    journal,
    noted,
    host,
    grains: {},
    pillar: {},
    signal: new AbortController().signal,
    source: async () => undefined,
    render: (template) => template,
    leases: () => [],
    pending: async (key) => journal.get(key),
    begin: async (key, note) => {
      journal.set(key, note);
    },
    commit: async (key) => {
      journal.delete(key);
    },
    note: (line) => noted.push(line),
    reached: () => {},
    lease: () => Promise.reject(new Error("no lease here")),
    ...more,
  };
}
