import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type SigningKey, signingKeyFromSeed } from "../../../../src/core/crypto/ed25519.ts";
import { generateDhKey } from "../../../../src/core/crypto/x25519.ts";
import { LatchkeyError } from "../../../../src/core/errors.ts";
import { generateIdentity } from "../../../../src/core/identity.ts";
import { isLeasePurpose } from "../../../../src/core/lease-purpose.ts";
import { type ApprovalStatement, argumentsDigest, statementBytes } from "../../../../src/core/operator-statement.ts";
import { Secret } from "../../../../src/core/secret.ts";
import { EventBus } from "../../../../src/master/events.ts";
import { Leases } from "../../../../src/master/leases/leases.ts";
import type { LeasePoint } from "../../../../src/master/leases/leases-options.ts";
import type { Hold } from "../../../../src/master/release/hold-record.ts";
import { ReleaseRoom } from "../../../../src/master/release/release-room.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { signLease } from "../../../../src/wire/lease-signature.ts";
import type { Request } from "../../../../src/wire/messages.ts";
import { Account, type Ask, DAY_MS } from "./account.ts";
import { FakeSession, HandClock, openAudit, pillarNaming, quiet } from "../fakes.ts";

/** Operators; `eve` may approve nothing. */
export const NAMES = ["ann", "bob", "cid", "eve"] as const;
/** Boots that the host asks from. */
export const BOOTS = ["boot-a", "boot-b", "boot-c"] as const;
/** Volumes that the host names. */
export const DEVICES = ["/dev/vg0/data", "/dev/vg0/other"] as const;
const PATH = "disk:password";
/** How long an approval is good. */
export const APPROVAL_MS = 3_600_000;
const MASTER = "SHA256:master";
const identity = generateIdentity();
const ephemeral = generateDhKey();

/** In place of SIGKILL: nothing of the dead master's memory is used afterwards. */
class Died extends Error {}

/**
 * The master's own rooms over a store in memory, and beside them an account of what may be released, kept in the plainest
 * way: what it does not cover must not come out.
 */
export class World {
  readonly clock = new HandClock();
  readonly store = new MemoryStore(this.clock);
  readonly keys = new Map<string, SigningKey>();
  readonly sent: { readonly statement: ApprovalStatement; readonly signature: string }[] = [];
  released = 0;
  readonly #policyPath: string;
  readonly #account = new Account(this.clock, this.keys, BOOTS[0]);
  readonly #requests: { readonly ask: Ask; readonly request: Request<"lease">; readonly session: FakeSession }[] = [];
  readonly #announcements: (() => Promise<unknown>)[] = [];
  readonly #identity = generateIdentity();
  #session = new FakeSession("web1", this.#identity);
  #dieAt: LeasePoint | undefined;
  #room: ReleaseRoom | undefined;
  #leases: Leases | undefined;
  #hasKey = false;
  #asked: Ask | undefined;

  constructor(policyPath: string) {
    this.#policyPath = policyPath;
  }

  async start(): Promise<void> {
    this.#room?.close();
    const audit = await openAudit(this.store, this.clock);
    const { clock, store } = this;
    const events = new EventBus(clock);
    const room = await ReleaseRoom.open({
      store,
      events,
      log: quiet,
      clock,
      master: MASTER,
      policyPath: this.#policyPath,
      approvalMs: APPROVAL_MS,
      heartbeatMs: 15_000,
      holdCommand: undefined,
      holdWebhook: undefined,
      grainsOf: () => ({}),
      bootOf: () => this.#account.boot,
      journal: async ({ kind, actor, subject, data }, changes = []) => {
        await audit.append({ at: clock.now(), kind, actor, subject, from: "", data }, changes);
      },
      nudge: async () => {},
      cut: async () => {},
    });
    this.#room = room;
    this.#leases = new Leases({
      store,
      audit,
      events,
      log: quiet,
      identity,
      clock,
      keepMs: 1_000_000,
      compilePillar: async () => pillarNaming(PATH),
      resolveSecret: async () => {
        this.#hasKey = true;
        return { secret: Secret.take(Buffer.from("a key")), version: 1, generated: true };
      },
      authorize: async (facts) =>
        room.gate.authorize({ ...facts, makesKey: facts.purpose === "format" && !this.#hasKey }),
      reached: (point) => {
        if (point === this.#dieAt) throw new Died();
      },
    });
  }

  get room(): ReleaseRoom {
    if (!this.#room) throw new Error("not started");
    return this.#room;
  }

  close(): void {
    this.#room?.close();
  }

  async ask(ask: Ask, times = 1): Promise<void> {
    const unsigned = {
      path: PATH,
      purpose: ask.purpose,
      device: ask.device,
      version: 0,
      luksUuid: "",
      layout: "",
      reencrypts: false,
      bootId: ask.boot,
      ephemeral: ephemeral.publicKey,
    };
    const session = this.#session;
    const request = signLease(unsigned, session.identity, session.handshakeHash);
    this.#requests.push({ ask, request, session });
    await this.#send(ask, request, times);
  }

  /** The host sends once more what it sent before; on another session it is nobody's word. */
  async askAgain(index: number): Promise<void> {
    const sent = this.#requests[index % Math.max(1, this.#requests.length)];
    if (!sent) return;
    if (sent.session === this.#session) await this.#send(sent.ask, sent.request, 1);
    else await assert.rejects(async () => this.#leases?.lease(this.#session, sent.request));
  }

  /** The host comes back with a new session. */
  reconnect(): void {
    this.#session = new FakeSession("web1", this.#identity, randomBytes(32));
  }

  async #send(ask: Ask, request: Request<"lease">, times: number): Promise<void> {
    this.#asked = ask;
    const answers = await Promise.all(
      Array.from({ length: times }, async () => this.#leases?.lease(this.#session, request)),
    );
    this.#account.follow(ask.boot);
    for (const answer of answers) {
      if (answer?.verdict !== "allow") continue;
      this.#account.book(ask);
      this.released += 1;
    }
    if (answers.some((answer) => answer?.verdict === "hold")) this.#account.held(ask);
    if (answers.some((answer) => answer?.verdict !== "deny")) this.#account.heardNoDenial(ask);
  }

  /** An operator pushes a job that runs on the host from now on. */
  async push(by: string): Promise<void> {
    const key = this.keys.get(by);
    if (!key) return;
    const now = this.clock.now();
    const statement = {
      what: "job" as const,
      master: MASTER,
      targetKind: "glob",
      target: "*",
      fun: "state.highstate",
      args: argumentsDigest([], {}),
      operator: by,
      expires: now + 1000,
      nonce: randomBytes(16).toString("hex"),
    };
    const pushed = { statement, signature: key.sign(statementBytes(statement)).toString("hex") };
    const target = { kind: "glob" as const, expr: "*" };
    const request = { target, fun: "state.highstate", args: [], kwargs: {}, timeoutMs: 1000, pushed };
    const note = await this.room.pushes.prove(request);
    // the same statement once more is nobody's word
    await assert.rejects(this.room.pushes.prove(request));
    await note?.({ jid: this.#account.pushed(by), fun: request.fun, ids: ["web1"] });
  }

  /** The oldest job that runs returns. */
  finish(): void {
    const jid = this.#account.finished();
    if (jid !== undefined) this.room.askers.returned("web1", jid);
  }

  /** A request during which the master dies, before or after its record is on disk; then it starts again. */
  async askAndDie(ask: Ask, at: "resolved" | "recorded"): Promise<void> {
    this.#dieAt = at;
    try {
      await this.ask(ask);
    } catch (error) {
      if (!(error instanceof Died)) throw error;
      // recorded is used up, although no key left
      this.#account.follow(ask.boot);
      if (at === "recorded") this.#account.book(ask);
    } finally {
      this.#dieAt = undefined;
    }
    await this.start();
  }

  async replaceKey(name: string): Promise<void> {
    await this.operator(name, false);
    await this.operator(name, true);
  }

  async approve(name: string, change: Partial<ApprovalStatement>, signer: string): Promise<void> {
    const hold = this.#hold();
    const key = this.keys.get(signer);
    if (!hold || !key) return;
    const statement: ApprovalStatement = {
      what: "approve",
      master: MASTER,
      hold: hold.holdId,
      minion: hold.id,
      secret: hold.path,
      purpose: hold.purpose,
      device: hold.device,
      address: hold.address,
      bootId: hold.bootId,
      reasons: hold.reasonsHash,
      operator: name,
      expires: this.clock.now() + APPROVAL_MS,
      ...change,
    };
    const signature = key.sign(statementBytes(statement)).toString("hex");
    this.sent.push({ statement, signature });
    if (name === signer && Object.keys(change).length === 0) {
      this.#account.approved(name, key, askOf(hold), statement.expires);
    }
    await this.#tolerant(this.room.approve(statement, signature));
  }

  async replay(index: number): Promise<void> {
    const sent = this.sent[index % Math.max(1, this.sent.length)];
    if (sent) await this.#tolerant(this.room.approve(sent.statement, sent.signature));
  }

  async operator(name: string, isThere: boolean): Promise<void> {
    const { operators } = this.room;
    if (!isThere) {
      this.keys.delete(name);
      await this.#tolerant(operators.remove(name));
      return;
    }
    if (this.keys.has(name)) return;
    const key = signingKeyFromSeed(randomBytes(32));
    this.keys.set(name, key);
    await operators.add(name, key.publicKey, this.clock.now());
  }

  async announce(by: string): Promise<void> {
    const key = this.keys.get(by);
    if (!key) return;
    const now = this.clock.now();
    const statement = {
      what: "reboot" as const,
      master: MASTER,
      targetKind: "glob",
      target: "*",
      windowMs: 600_000,
      operator: by,
      expires: now + 600_000,
      nonce: randomBytes(16).toString("hex"),
    };
    const signature = key.sign(statementBytes(statement)).toString("hex");
    await this.room.announce(["web1"], statement, signature);
    this.#announcements.push(async () => this.room.announce(["web1"], statement, signature));
    this.#account.announced(by, now + 600_000);
  }

  /** What was announced before is announced once more: that is nobody's word. */
  async announceAgain(index: number): Promise<void> {
    const again = this.#announcements[index % Math.max(1, this.#announcements.length)];
    if (again) await assert.rejects(again);
  }

  async deny(): Promise<void> {
    const hold = this.#hold();
    if (!hold) return;
    await this.room.deny(hold.holdId);
    this.#account.denied(askOf(hold), hold.askedAt + DAY_MS);
  }

  async revoke(isRevoked: boolean): Promise<void> {
    if (isRevoked) await this.room.revoke("web1", PATH);
    else await this.room.allow("web1", null);
    this.#account.revoked(isRevoked);
  }

  /** What was asked for last, if it waits, or else what has waited longest. */
  #hold(): Hold | undefined {
    const holds = this.room.holds.list();
    const asked = this.#asked;
    return holds.find(({ purpose, device }) => purpose === asked?.purpose && device === asked.device) ?? holds[0];
  }

  async #tolerant(act: Promise<unknown>): Promise<void> {
    try {
      await act;
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
    }
  }
}

const askOf = ({ bootId: boot, purpose, device }: Hold): Ask => {
  return { boot, purpose: isLeasePurpose(purpose) ? purpose : "open", device };
};
