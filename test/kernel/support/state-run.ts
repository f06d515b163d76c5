import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { BugError, ConfigError } from "../../../src/core/errors.ts";
import type { Host } from "../../../src/core/host.ts";
import type { Json } from "../../../src/core/json.ts";
import { Secret } from "../../../src/core/secret.ts";
import { openJournal } from "../../../src/minion/journal.ts";
import { STATES } from "../../../src/states/registry.ts";
import type { AnyState, ApplyContext, Change, LeaseRecord, Outcome } from "../../../src/states/state.ts";

/** A key of the test's own making. */
export interface TestKey {
  readonly bytes: Buffer;
  readonly generated: boolean;
}

/** A random machine key. */
export const machineKey = (): TestKey => ({ bytes: randomBytes(32), generated: true });

/** A passphrase as a person chooses it. */
export const humanKey = (): TestKey => ({
  bytes: Buffer.from(`correct horse ${randomBytes(4).toString("hex")}`),
  generated: false,
});

/** The state of that name and its parsed parameters. */
function parse(name: string, params: Readonly<Record<string, Json>>): { state: AnyState; parsed: unknown } {
  const state = STATES.find((candidate) => candidate.name === name);
  if (state === undefined) throw new BugError("no-such-state", `there is no state "${name}"`);
  return { state, parsed: state.params.parse(params) };
}

/** Runs states on the real host as the engine does: check, apply, check again. One directory is one minion's disk. */
export class StateRun {
  readonly leases: LeaseRecord[] = [];
  readonly secrets: Secret[] = [];
  readonly notes: string[] = [];
  readonly steps: string[] = [];
  readonly #keys: Readonly<Record<string, TestKey>>;
  readonly #context: ApplyContext;

  constructor(host: Host, directory: string, keys: Readonly<Record<string, TestKey>> = {}) {
    this.#keys = keys;
    const journal = openJournal(host, join(directory, "journal"));
    this.#context = {
      ...journal,
      host,
      grains: {},
      pillar: {},
      signal: new AbortController().signal,
      source: () => Promise.resolve(undefined),
      render: (template) => template,
      leases: () => this.leases,
      note: (line) => this.notes.push(line),
      reached: (step) => this.steps.push(step),
      lease: (ref, purpose, subject, use) => this.#lease(ref, purpose, subject, use),
    };
  }

  get context(): ApplyContext {
    return this.#context;
  }

  /** What the state would change: test mode. */
  async test(name: string, params: Readonly<Record<string, Json>>): Promise<readonly Change[]> {
    const { state, parsed } = parse(name, params);
    if (state.kind !== "resource") throw new BugError("no-resource", `${name} is no resource`);
    return state.check(parsed, this.#context);
  }

  /** Makes it so, and throws when the second look still finds a difference. */
  async apply(name: string, params: Readonly<Record<string, Json>>): Promise<readonly Change[]> {
    const { state, parsed } = parse(name, params);
    if (state.kind !== "resource") throw new BugError("no-resource", `${name} is no resource`);
    const changes = await state.check(parsed, this.#context);
    if (changes.length === 0) return changes;
    await state.apply(parsed, this.#context, changes);
    const left = await state.check(parsed, this.#context);
    if (left.length > 0) throw new BugError("not-applied", `${name} still differs: ${JSON.stringify(left)}`);
    return changes;
  }

  /** Acts as if a check had found these changes: what looks again before it writes refuses. */
  async force(name: string, params: Readonly<Record<string, Json>>, changes: readonly Change[]): Promise<void> {
    const { state, parsed } = parse(name, params);
    if (state.kind !== "resource") throw new BugError("no-resource", `${name} is no resource`);
    await state.apply(parsed, this.#context, changes);
  }

  /** An action, such as luks.key_wiped. */
  async act(name: string, params: Readonly<Record<string, Json>>): Promise<Outcome> {
    const { state, parsed } = parse(name, params);
    if (state.kind !== "action") throw new BugError("no-action", `${name} is no action`);
    return state.act(parsed, this.#context);
  }

  readonly #lease: ApplyContext["lease"] = async (ref, purpose, _subject, use) => {
    const key = this.#keys[ref];
    if (key === undefined) throw new ConfigError("no-such-secret", `cannot lease "${ref}": the test has no such key`);
    const secret = Secret.take(Buffer.from(key.bytes));
    this.secrets.push(secret);
    const leasedAt = Date.now();
    try {
      return await use({ secret, generated: key.generated, version: 1 });
    } finally {
      secret.wipe();
      this.leases.push({ ref, purpose, leasedAt, usedAt: leasedAt, wipedAt: Date.now() });
    }
  };
}
