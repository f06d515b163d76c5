import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type SigningKey, signingKeyFromSeed } from "../../../../src/core/crypto/ed25519.ts";
import { generateDhKey } from "../../../../src/core/crypto/x25519.ts";
import { LatchkeyError } from "../../../../src/core/errors.ts";
import { generateIdentity } from "../../../../src/core/identity.ts";
import { type ApprovalStatement, argumentsDigest, statementBytes } from "../../../../src/core/operator-statement.ts";
import { Secret } from "../../../../src/core/secret.ts";
import { EventBus } from "../../../../src/master/events.ts";
import { Leases } from "../../../../src/master/leases/leases.ts";
import type { LeasePoint } from "../../../../src/master/leases/leases-options.ts";
import { ReleaseRoom } from "../../../../src/master/release/release-room.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { signLease } from "../../../../src/wire/lease-signature.ts";
import { FakeSession, HandClock, openAudit, pillarNaming, quiet } from "../fakes.ts";

/** Two of three lift a hold; one lease a boot and three a day are free. */
export const POLICY = {
  rules: [
    {
      name: "once",
      require: { once_a_boot: true, budget_per_day: 3, announced_reboot: true },
      lift: { count: 2, of: ["ann", "bob", "cid"] },
    },
  ],
};
/** Operators; `eve` may approve nothing. */
export const NAMES = ["ann", "bob", "cid", "eve"] as const;
/** Boots that the host asks from. */
export const BOOTS = ["boot-a", "boot-b", "boot-c"] as const;
const DEVICE = "/dev/vg0/data";
const PATH = "disk:password";
/** How long an approval is good. */
export const APPROVAL_MS = 3_600_000;
/** Milliseconds of a day. */
export const DAY_MS = 86_400_000;
const MASTER = "SHA256:master";
const identity = generateIdentity();
const ephemeral = generateDhKey();

interface Approved {
  readonly by: string;
  readonly key: SigningKey;
  readonly boot: string;
  readonly expires: number;
}

/** In place of SIGKILL: nothing of the dead master's memory is used afterwards. */
class Died extends Error {}

/**
 * The master's own rooms over a store in memory, and beside them an account of what may be released, kept in the plainest
 * way: what it does not cover must not come out.
 */
export class World {
  readonly clock = new HandClock();
  readonly store = new MemoryStore(this.clock);
  readonly session = new FakeSession("web1");
  readonly keys = new Map<string, SigningKey>();
  readonly sent: { readonly statement: ApprovalStatement; readonly signature: string }[] = [];
  released = 0;
  readonly #policyPath: string;
  #dieAt: LeasePoint | undefined;
  #room: ReleaseRoom | undefined;
  #leases: Leases | undefined;
  // the account
  #approved: Approved[] = [];
  #releases: { readonly at: number; readonly boot: string }[] = [];
  #revoked = false;
  // a denial lasts a day at most, and until the host asks in another boot
  #denied: { readonly boot: string; readonly until: number } | undefined;
  #boot: string = BOOTS[0];
  #pushes: {
    readonly by: string;
    readonly jid: string;
    readonly boot: string;
    ended?: number;
    next?: string;
    until: number;
  }[] = [];
  #announced: { readonly by: string; readonly until: number; boot: string | undefined } | undefined;

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
      bootOf: () => this.#boot,
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
      resolveSecret: async () => ({ secret: Secret.take(Buffer.from("a key")), version: 1, generated: true }),
      authorize: async (facts) => room.gate.authorize(facts),
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

  async ask(boot: string, times = 1): Promise<void> {
    const unsigned = {
      path: PATH,
      purpose: "open" as const,
      device: DEVICE,
      version: 0,
      luksUuid: "",
      bootId: boot,
      ephemeral: ephemeral.publicKey,
    };
    const request = signLease(unsigned, this.session.identity, this.session.handshakeHash);
    const answers = await Promise.all(
      Array.from({ length: times }, async () => this.#leases?.lease(this.session, request)),
    );
    this.#follow(boot);
    for (const answer of answers) {
      if (answer?.verdict !== "allow") continue;
      this.#book(boot);
      this.released += 1;
    }
    if (answers.some((answer) => answer?.verdict === "hold")) this.#noteAsker(boot);
    if (this.#denied?.boot !== boot && answers.some((answer) => answer?.verdict !== "deny")) this.#denied = undefined;
  }

  /** Who announced the reboot that a held request comes from has asked for it, also when the window is over. */
  #noteAsker(boot: string): void {
    const window = this.#announced;
    const isWindow = window && this.clock.now() < window.until && (window.boot ?? boot) === boot;
    const askers = [...this.#pushers(boot), ...(isWindow ? [window.by] : [])];
    this.#approved = this.#approved.filter((one) => one.boot !== boot || !askers.includes(one.by));
  }

  /** A request comes from this boot: jobs of another boot that run, or ended a moment ago, led to it. */
  #follow(boot: string): void {
    this.#boot = boot;
    const now = this.clock.now();
    for (const push of this.#pushes) {
      if (push.boot === boot || push.next !== undefined || now >= push.until) continue;
      push.next = boot;
      push.until = now + DAY_MS;
    }
  }

  /** Who made the host ask in this boot. */
  #pushers(boot: string): string[] {
    const now = this.clock.now();
    const led = this.#pushes.filter(({ until, next, boot: at, ended }) => {
      return now < until && (next === boot || (at === boot && ended === undefined));
    });
    return led.map(({ by }) => by);
  }

  /** An operator pushes a job that runs on the host from now on. */
  async push(by: string): Promise<void> {
    const key = this.keys.get(by);
    if (!key) return;
    const jid = String(this.#pushes.length).padStart(20, "0");
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
    await note?.({ jid, fun: request.fun, ids: ["web1"] });
    this.#pushes.push({ by, jid, boot: this.#boot, until: now + DAY_MS });
  }

  /** The oldest job that runs returns. */
  finish(): void {
    const push = this.#pushes.find(({ ended }) => ended === undefined);
    if (!push) return;
    push.ended = this.clock.now();
    if (push.next === undefined) push.until = push.ended + 900_000;
    this.room.askers.returned("web1", push.jid);
  }

  /** A request during which the master dies, before or after its record is on disk; then it starts again. */
  async askAndDie(boot: string, at: "resolved" | "recorded"): Promise<void> {
    this.#dieAt = at;
    try {
      await this.ask(boot);
    } catch (error) {
      if (!(error instanceof Died)) throw error;
      // recorded is used up, although no key left
      this.#follow(boot);
      if (at === "recorded") this.#book(boot);
    } finally {
      this.#dieAt = undefined;
    }
    await this.start();
  }

  async replaceKey(name: string): Promise<void> {
    await this.operator(name, false);
    await this.operator(name, true);
  }

  /** Fails unless the account covers a release now, and books it. */
  #book(boot: string): void {
    const now = this.clock.now();
    assert(!this.#revoked, "a key came out although it was revoked");
    const isDenied = this.#denied?.boot === boot && now < this.#denied.until;
    assert(!isDenied, "a key came out although it was denied");
    const last = this.#releases.at(-1);
    const isFirst = last?.boot !== boot;
    const isAnnounced =
      this.#announced !== undefined && now < this.#announced.until && (this.#announced.boot ?? boot) === boot;
    const inDay = this.#releases.filter(({ at }) => at > now - DAY_MS).length;
    const isFree = isFirst && inDay < 3 && (last === undefined || isAnnounced);
    const who = this.#approved
      .filter((one) => one.boot === boot && one.expires > now && this.keys.get(one.by) === one.key)
      .filter(({ by }) => !this.#pushers(boot).includes(by))
      .filter(({ by }) => by !== "eve" && !(isAnnounced && this.#announced?.by === by));
    assert(isFree || new Set(who.map(({ by }) => by)).size >= 2, "a key came out without the approvals it needs");
    this.#approved = [];
    this.#releases.push({ at: now, boot });
    if (this.#announced && isAnnounced) this.#announced.boot ??= boot;
  }

  async approve(name: string, change: Partial<ApprovalStatement>, signer: string): Promise<void> {
    const hold = this.room.holds.list()[0];
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
      this.#approved.push({ by: name, key, boot: hold.bootId, expires: statement.expires });
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
      expires: now + 1000,
    };
    await this.room.announce(["web1"], statement, key.sign(statementBytes(statement)).toString("hex"));
    this.#announced = { by, until: now + 600_000, boot: undefined };
  }

  async deny(): Promise<void> {
    const hold = this.room.holds.list()[0];
    if (!hold) return;
    await this.room.deny(hold.holdId);
    this.#denied = { boot: hold.bootId, until: hold.askedAt + DAY_MS };
    this.#approved = [];
  }

  async revoke(isRevoked: boolean): Promise<void> {
    if (isRevoked) await this.room.revoke("web1", PATH);
    else await this.room.allow("web1", null);
    this.#revoked = isRevoked;
    this.#approved = [];
    // what waited or was denied is forgotten with it
    this.#denied = undefined;
  }

  async #tolerant(act: Promise<unknown>): Promise<void> {
    try {
      await act;
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
    }
  }
}
