import type { Clock } from "../../../src/core/clock.ts";
import type { ControlEvent } from "../../../src/core/control-api.ts";
import { generateIdentity, type Identity } from "../../../src/core/identity.ts";
import { createLogger } from "../../../src/core/log.ts";
import type { EventBus } from "../../../src/master/events.ts";
import type { AuditRecord } from "../../../src/core/audit/chain.ts";
import { AuditLog } from "../../../src/master/audit/audit-log.ts";
import { decodeStored, recordEntries } from "../../../src/master/audit/stored.ts";
import type { Store } from "../../../src/master/store/store.ts";
import type { CompiledPillar } from "../../../src/pillar/compile.ts";
import type { PeerSession } from "../../../src/wire/endpoints.ts";
import type { Notice } from "../../../src/wire/messages.ts";

/** A log that says nothing. */
export const quiet = createLogger("test", "silent");

/** A clock that stands until it is moved. */
export class HandClock implements Clock {
  time = 1_700_000_000_000;
  now(): number {
    return this.time;
  }
  monotonicMs(): number {
    return this.time;
  }
  async sleep(): Promise<void> {}
}

/** A session as the wire would make it; what it was told is in `notices`. */
export class FakeSession implements PeerSession {
  static #next = 1;
  readonly sessionId = FakeSession.#next++;
  readonly minionId: string;
  readonly identity: Identity;
  readonly address = "192.0.2.1";
  readonly handshakeHash: Uint8Array;
  readonly openedAt = 0;
  readonly notices: Notice[] = [];
  reachable = true;
  isClosed = false;

  constructor(
    minionId: string,
    identity: Identity = generateIdentity(),
    handshakeHash: Uint8Array = Buffer.alloc(32, 7),
  ) {
    this.minionId = minionId;
    this.identity = identity;
    this.handshakeHash = handshakeHash;
  }

  get peer() {
    return this.identity.public;
  }

  async notify(notice: Notice): Promise<boolean> {
    this.notices.push(notice);
    return this.reachable;
  }

  close(): void {
    this.isClosed = true;
  }
}

/** Collects what a bus emits; `end` stops it. */
export function collect(bus: EventBus): { readonly events: ControlEvent[]; readonly end: () => void } {
  const ending = new AbortController();
  const events: ControlEvent[] = [];
  void (async () => {
    for await (const event of bus.follow(ending.signal)) events.push(event);
  })();
  return { events, end: () => ending.abort() };
}

const auditor = generateIdentity();

/** An audit log over a store, signed by nobody that matters. */
export async function openAudit(store: Store, clock: Clock): Promise<AuditLog> {
  return AuditLog.open({
    store,
    clock,
    sign: (message) => auditor.sign.sign(message),
    signKey: auditor.public.signKey,
  });
}

/** Every audit record of a store. */
export async function recordsOf(store: Store): Promise<readonly AuditRecord[]> {
  return Array.fromAsync(recordEntries(store), (entry) => decodeStored(entry) as AuditRecord);
}

/** A compiled pillar that names these secrets, to be made by the master, and nothing else. */
export function pillarNaming(...paths: readonly string[]): CompiledPillar {
  const node = { kind: "generate", file: "web.sls", line: 1 } as const;
  return { pillar: {}, secrets: new Map(paths.map((path) => [path, node])) };
}
