import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { AuthError, errorMessage } from "../core/errors.ts";
import type { Identity } from "../core/identity.ts";
import { LEASE_OUTCOMES } from "../core/lease-purpose.ts";
import type { Logger } from "../core/log.ts";
import { z } from "../core/schema.ts";
import { signReceipt } from "../wire/lease-signature.ts";
import { createDurableFile } from "./durable-file.ts";
import type { Link } from "./link.ts";

const receiptSchema = z.strictObject({
  leaseId: z.string().regex(/^[0-9a-f-]{1,80}$/u),
  outcome: z.enum(LEASE_OUTCOMES),
  wiped: z.boolean(),
  tookMs: z.number().nonnegative(),
});
/** What became of a lease, not yet signed: the signature is for one session. Names no secret. */
export type LeaseReceipt = z.infer<typeof receiptSchema>;

export interface ReceiptsOptions {
  readonly directory: string;
  readonly link: Link;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** A host that gets no receipt through does not fill its disk with them. */
const MAX_KEPT = 2000;
const ABSENT = new Set(["ENOENT", "ENOTDIR"]);
/** Of those in memory. */
const MAX_HELD = 200;
const AGAIN_MS = 30_000;
const TRY_MS = 10_000;
const FILE = /^[0-9a-f-]{1,80}(?:\.mounted)?\.json$/u;

/** The file of a receipt; of one lease's two, the name of the first comes first when names are sorted. */
const fileOf = ({ leaseId, outcome }: LeaseReceipt) => `${leaseId}${outcome === "mounted" ? ".mounted" : ""}.json`;

/**
 * Receipts that the master would not take yet (its disk is full, or it went away): on this machine's disk until the master
 * has them on its own.
 */
export class Receipts {
  readonly #options: ReceiptsOptions;
  /** Those that the disk would not take, in memory alone, by the names that their files would have. */
  readonly #held = new Map<string, LeaseReceipt>();
  #isDelivering = false;
  /** Something was kept, or a session began, since the round under way looked. */
  #isWanted = false;

  constructor(options: ReceiptsOptions) {
    this.#options = options;
  }

  /**
   * Keeps one; resolves when it is on disk, or in memory where the disk takes nothing. Never throws: a receipt that cannot be
   * kept is lost, and said to be.
   */
  async keep(receipt: LeaseReceipt, reason: unknown): Promise<void> {
    const { directory, log } = this.#options;
    const { leaseId, outcome } = receipt;
    const name = fileOf(receipt);
    const path = join(directory, name);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      if ((await readdir(directory)).length >= MAX_KEPT) throw new Error(`${MAX_KEPT} wait already`);
      await rm(path, { force: true });
      await createDurableFile(path, JSON.stringify(receiptSchema.parse(receipt)));
      log.warn({ leaseId, outcome, reason: errorMessage(reason) }, "a lease's receipt was not delivered; kept");
    } catch (error) {
      // what was written of it before the disk was full
      await rm(path, { force: true }).catch(() => undefined);
      const isHeld = this.#held.size < MAX_HELD;
      if (isHeld) this.#held.set(name, receipt);
      const what = isHeld ? "is in memory alone" : "is lost";
      log.error({ leaseId, outcome, err: error, reason: errorMessage(reason) }, `a lease's receipt ${what}`);
    }
    this.deliver();
  }

  /** Sends what is kept, again and again until the master has it; to be called when a session begins. */
  deliver(): void {
    this.#isWanted = true;
    if (!this.#isDelivering) void this.#deliverAll();
  }

  async #deliverAll(): Promise<void> {
    const { clock, signal, log } = this.#options;
    this.#isDelivering = true;
    try {
      while (this.#isWanted && !signal.aborted) {
        this.#isWanted = false;
        if ((await this.#deliverOnce()) === 0) continue;
        await clock.sleep(AGAIN_MS, signal);
        this.#isWanted = true;
      }
    } catch (error) {
      if (!signal.aborted) log.error({ err: error }, "receipts could not be sent");
    } finally {
      this.#isDelivering = false;
    }
  }

  /** One try for each, a lease's second receipt not before its first; how many are left. */
  async #deliverOnce(): Promise<number> {
    const { directory, log } = this.#options;
    const onDisk = await namesIn(directory).catch((error: unknown) => {
      // those in memory have no other place
      log.error({ err: error }, "receipts on disk cannot be listed");
      return [];
    });
    const late = new Set<string>();
    let left = 0;
    for (const name of [...new Set([...this.#held.keys(), ...onDisk.filter((one) => FILE.test(one))])].sort()) {
      const path = join(directory, name);
      const receipt = this.#held.get(name) ?? parse(await readFile(path, "utf8"));
      if (!receipt) log.error({ name }, "a receipt on disk is damaged and was dropped");
      if (receipt && (late.has(receipt.leaseId) || !(await this.#send(receipt)))) {
        late.add(receipt.leaseId);
        left += 1;
      } else if (!this.#held.delete(name)) await rm(path, { force: true });
    }
    return left;
  }

  /** True when there is no use in sending it again. */
  async #send(receipt: LeaseReceipt): Promise<boolean> {
    const { link, identity, signal, log } = this.#options;
    try {
      await link.persist({ waitMs: TRY_MS, signal }, (live) =>
        live.request("lease.receipt", signReceipt(receipt, identity, live.handshakeHash)),
      );
      return true;
    } catch (thrown) {
      signal.throwIfAborted();
      if (!(thrown instanceof AuthError)) return false;
      // a lease of another master, or of so long ago that it is not known any more
      const { leaseId, outcome } = receipt;
      log.warn({ leaseId, outcome }, "the master knows no such lease: its receipt was dropped");
      return true;
    }
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && ABSENT.has(String(thrown.code))) return [];
    throw thrown;
  }
}

function parse(text: string): LeaseReceipt | undefined {
  try {
    return receiptSchema.safeParse(JSON.parse(text)).data;
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}
