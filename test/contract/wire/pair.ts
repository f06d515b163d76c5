import { type Clock, systemClock } from "../../../src/core/clock.ts";
import { fingerprint, generateIdentity, type Identity, type PublicIdentity } from "../../../src/core/identity.ts";
import type { LimitHit } from "../../../src/wire/limit-alarms.ts";
import type {
  Admission,
  ConnectionState,
  MasterConnection,
  MasterEndpoint,
  PeerSession,
} from "../../../src/wire/endpoints.ts";
import { signEpoch } from "../../../src/wire/job-epoch.ts";
import { signJob } from "../../../src/wire/job-envelope.ts";
import { listenMaster } from "../../../src/wire/master-endpoint.ts";
import { signHeartbeat } from "../../../src/wire/heartbeat-signature.ts";
import type { Job, Method, Request, Response, SignedEpoch } from "../../../src/wire/messages.ts";
import { connectMaster } from "../../../src/wire/minion-connection.ts";

/** Things that a test file opened, closed in reverse order after each test. */
export const opened: { close(): Promise<void> }[] = [];

export async function closeAll(): Promise<void> {
  for (const each of opened.splice(0).toReversed()) await each.close();
}

/** A heartbeat as a minion of this identity signs it on its live session. */
export async function heartbeat({ connection, identity }: Pick<TestMinion, "connection" | "identity">, lastSeq = 0) {
  const unsigned = { lastSeq, running: [], counter: beats++, bootId: "b" };
  return connection.request("heartbeat", signHeartbeat(unsigned, identity, connection.handshakeHash));
}
let beats = 1;

/** Waits until the condition holds; fails after the deadline. */
export async function until(what: string, condition: () => boolean, deadlineMs = 60_000): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited ${deadlineMs} ms in vain: ${what}`);
    await systemClock.sleep(5);
  }
}

export function job(seq: number, issuedAt = Date.now()): Job {
  const jid = String(20_260_000_000_000_000_000n + BigInt(seq));
  return { jid, seq, issuedAt, fun: "test.ping", args: [], kwargs: {}, target: { kind: "all" } };
}

export interface TestMaster {
  readonly identity: Identity;
  readonly endpoint: MasterEndpoint;
  readonly opened: PeerSession[];
  readonly closed: PeerSession[];
  readonly admissions: { readonly id: string; readonly peer: PublicIdentity; readonly address: string }[];
  readonly requests: { readonly method: Method; readonly body: unknown }[];
  readonly reports: unknown[];
  readonly limited: LimitHit[];
  /** Envelopes that jobs.since answers from. */
  readonly kept: { readonly seq: number; readonly envelope: Uint8Array }[];
  /** Whom openings by IK are compared with: everybody who was admitted, and whom a test adds. */
  readonly holders: Map<string, PublicIdentity>;
  verdict: Admission;
  /** Awaited before the verdict is given. */
  decide: (() => Promise<void>) | undefined;
  answer: (<M extends Method>(session: PeerSession, method: M, body: Request<M>) => Promise<Response<M>>) | undefined;
  readonly epoch: SignedEpoch;
  /** Signs a job of this number and tells the newest session of it, as if nothing but `after` were known to come before. */
  notify(seq: number, after: number): Promise<void>;
  /** Signs and keeps a job, and tells every live session of it; its envelope. */
  publish(job: Job): Promise<Uint8Array>;
}

/** A master on loopback with the simplest handlers that make a whole one. */
export async function startMaster(
  identity = generateIdentity(),
  port = 0,
  bindAddress = "127.0.0.1",
): Promise<TestMaster> {
  const master: Omit<TestMaster, "endpoint"> & { endpoint: MasterEndpoint | undefined } = {
    identity,
    endpoint: undefined,
    opened: [],
    closed: [],
    admissions: [],
    requests: [],
    reports: [],
    limited: [],
    kept: [],
    holders: new Map(),
    epoch: signEpoch(1, Buffer.alloc(16, 1), identity.sign),
    notify: async (number, after) => {
      const envelope = signJob(job(number), identity.sign);
      await master.opened.at(-1)?.notify({ kind: "job", envelope, after, epoch: master.epoch });
    },
    verdict: "accept",
    decide: undefined,
    answer: undefined,
    publish: async (next) => {
      const envelope = signJob(next, identity.sign);
      const after = seq();
      master.kept.push({ seq: next.seq, envelope });
      for (const session of endpoint.sessions())
        await session.notify({ kind: "job", envelope, after, epoch: master.epoch });
      return envelope;
    },
  };
  const seq = () => master.kept.at(-1)?.seq ?? 0;
  const endpoint = await listenMaster({
    identity,
    interface: bindAddress,
    returnPort: port,
    clock: systemClock,
    report: (_message, error) => master.reports.push(error),
    limited: (hit) => master.limited.push(hit),
    handlers: {
      holder: (id) => (master.verdict === "accept" ? master.holders.get(id) : undefined),
      admit: async (id, peer, address) => {
        if (master.verdict === "accept") master.holders.set(id, peer);
        master.admissions.push({ id, peer, address });
        await master.decide?.();
        return master.verdict;
      },
      request: async <M extends Method>(session: PeerSession, method: M, body: Request<M>): Promise<Response<M>> => {
        master.requests.push({ method, body });
        if (master.answer) return master.answer(session, method, body);
        const answers: Partial<{ [K in Method]: Response<K> }> = {
          hello: { version: "1", now: Date.now(), seq: seq(), heartbeatMs: 1000 },
          heartbeat: { seq: seq() },
          "jobs.since": {
            envelopes: master.kept
              .filter((kept) => "lastSeq" in body && kept.seq > body.lastSeq)
              .map(({ envelope }) => envelope),
            seq: seq(),
            epoch: master.epoch,
          },
          pillar: { pillar: { for: session.minionId } },
          return: {},
          bye: {},
        };
        return answers[method] as Response<M>;
      },
      opened: (session) => master.opened.push(session),
      closed: (session) => master.closed.push(session),
    },
  });
  master.endpoint = endpoint;
  opened.push(endpoint);
  return master as TestMaster;
}

/** An epoch that was saved, and at how many saved numbers. */
export interface KeptEpoch {
  readonly signed: SignedEpoch;
  readonly at: number;
}

export interface TestMinion {
  readonly identity: Identity;
  readonly connection: MasterConnection;
  readonly states: ConnectionState[];
  readonly jobs: Job[];
  /** Numbers in the order they were saved, whichever master's. */
  readonly saved: number[];
  readonly epochs: KeptEpoch[];
  readonly remembered: PublicIdentity[];
}

/** Where a master is; on 127.0.0.1 unless said otherwise. */
export interface TestAddress {
  readonly host?: string;
  readonly returnPort: number;
}

export interface MinionSetup {
  readonly id?: string;
  readonly identity?: Identity;
  readonly fingerprints?: readonly string[];
  readonly known?: readonly PublicIdentity[];
  readonly firstUse?: boolean;
  /** Positions of masters, by fingerprint, as a minion had them before; `saved` are added. */
  readonly positions?: Map<string, number>;
  /** Epochs as a minion had them before; the newest is shown, and what it saves is added. */
  readonly epochs?: KeptEpoch[];
  /** Says in `hello` that it has come so far, whatever is true. */
  readonly claims?: number;
  /** What masters gave, by fingerprint; kept there. */
  readonly tickets?: Map<string, Uint8Array>;
  readonly call?: true;
  /** What it says of itself in `hello`, the first thing it says. */
  readonly grains?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
  readonly more?: readonly TestAddress[];
}

/** A minion that says hello on every session and collects what it gets. */
export function startMinion(master: TestAddress, setup: MinionSetup = {}): TestMinion {
  const identity = setup.identity ?? generateIdentity();
  const states: ConnectionState[] = [];
  const jobs: Job[] = [];
  const saved: number[] = [];
  const epochs = setup.epochs ?? [];
  const positions = setup.positions ?? new Map<string, number>();
  const remembered: PublicIdentity[] = [];
  const at = ({ host = "127.0.0.1", returnPort }: TestAddress) => ({ host, returnPort });
  const connection = connectMaster({
    masters: [at(master), ...(setup.more ?? []).map(at)],
    minionId: setup.id ?? "web1.example",
    identity,
    trust: {
      fingerprints: setup.fingerprints ?? [],
      known: setup.known ?? [],
      firstUse: setup.firstUse ?? !(setup.fingerprints ?? setup.known),
      remember: async (found) => {
        remembered.push(found);
        return Promise.resolve();
      },
    },
    tickets: {
      of: (of) => setup.tickets?.get(fingerprint(of)),
      keep: (of, ticket) => setup.tickets?.set(fingerprint(of), ticket),
    },
    jobs: setup.call
      ? undefined
      : {
          lastSeq: (of) => positions.get(fingerprint(of)) ?? 0,
          saveSeq: async (of, seq) => {
            saved.push(seq);
            positions.set(fingerprint(of), seq);
            return Promise.resolve();
          },
          epoch: () => epochs.at(-1)?.signed,
          saveEpoch: async (_of, signed) => {
            epochs.push({ signed, at: saved.length });
            return Promise.resolve();
          },
        },
    clock: setup.clock ?? systemClock,
    random: Math.random,
    report: (message, error) => {
      if (process.env["LATCHKEY_TEST_LOG"]) process.stderr.write(`${message}: ${String(error)}\n`);
    },
    handlers: {
      connected: async () => {
        const role = setup.call ? "call" : "agent";
        const lastSeq = setup.claims ?? (role === "call" ? 0 : (positions.get(fingerprint(connection.master)) ?? 0));
        const signed = epochs.at(-1)?.signed;
        const body = {
          version: "1",
          bootId: "b",
          role,
          grains: setup.grains ?? {},
          lastSeq,
          ...(signed ? { epoch: signed } : {}),
        } as const;
        await connection.request("hello", body);
      },
      stateChanged: (state) => states.push(state),
      job: (next) => jobs.push(next),
    },
  });
  opened.push(connection);
  return { identity, connection, states, jobs, saved, epochs, remembered };
}
