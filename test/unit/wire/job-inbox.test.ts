import * as fc from "fast-check";
import { expect, test } from "vitest";
import { generateIdentity } from "../../../src/core/identity.ts";
import { Drops } from "../../../src/wire/drop-counters.ts";
import { signEpoch } from "../../../src/wire/job-epoch.ts";
import { signJob } from "../../../src/wire/job-envelope.ts";
import { JobInbox } from "../../../src/wire/job-inbox.ts";

const master = generateIdentity();
const epoch = signEpoch(1, Buffer.alloc(16), master.sign);
const envelopes = new Map<number, Uint8Array>();

/** A job of that number; signed once for all runs. */
function envelopeOf(seq: number): Uint8Array {
  const known = envelopes.get(seq);
  if (known) return known;
  const jid = String(20_260_000_000_000_000_000n + BigInt(seq));
  const body = { jid, seq, issuedAt: 0, fun: "test.ping", args: [], kwargs: {}, target: { kind: "all" } } as const;
  const envelope = signJob({ ...body, args: [] }, master.sign);
  envelopes.set(seq, envelope);
  return envelope;
}

/** A master's end as the protocol has it: jobs for this minion and for others, awaited until they were acknowledged. */
class ModelMaster {
  #seq = 0;
  readonly mine: number[] = [];
  readonly acked = new Set<number>();

  awaited(before = Number.POSITIVE_INFINITY): number {
    return Math.max(0, ...this.mine.filter((seq) => seq < before && !this.acked.has(seq)));
  }

  publish(isMine: boolean): { readonly seq: number; readonly after: number } {
    this.#seq += 1;
    if (isMine) this.mine.push(this.#seq);
    return { seq: this.#seq, after: this.awaited(this.#seq) };
  }

  /** At most two at a time: an answer is bounded. */
  since(lastSeq: number) {
    const wanted = this.mine.filter((seq) => seq > lastSeq && !this.acked.has(seq));
    const some = wanted.slice(0, 2);
    return {
      envelopes: some.map((seq) => envelopeOf(seq)),
      seq: some.length < wanted.length ? (some.at(-1) ?? 0) : this.#seq,
      epoch,
    };
  }
}

type Step = "again" | "cut" | "lost" | "mine" | "others" | "restart" | "settle";

async function run(steps: readonly Step[]): Promise<{ readonly delivered: number[]; readonly wanted: number[] }> {
  const model = new ModelMaster();
  const delivered: number[] = [];
  let kept = 0;
  let last: { readonly seq: number; readonly after: number } | undefined;
  const open = () =>
    new JobInbox({
      position: {
        lastSeq: () => kept,
        saveSeq: async (_of, seq) => {
          expect(seq).toBeGreaterThan(kept);
          kept = seq;
          return Promise.resolve();
        },
        epoch: () => epoch,
        saveEpoch: async () => Promise.resolve(),
      },
      drops: new Drops(),
      deliver: ({ seq }) => {
        expect(kept).toBe(seq);
        delivered.push(seq);
        model.acked.add(seq);
      },
      report: (_message, error) => {
        throw error;
      },
    });
  let inbox = open();
  const attach = () => {
    inbox.attach({ master: master.public, fetch: async (lastSeq) => Promise.resolve(model.since(lastSeq)) });
    inbox.latest(model.awaited());
  };
  const notice = (what: typeof last) => what && inbox.noticed(envelopeOf(what.seq), what.after, epoch);
  // turns enough for everything that is queued: no timer is involved
  const settle = async () => new Promise<void>((done) => setImmediate(done));
  attach();
  for (const step of steps) {
    if (step === "mine") notice((last = model.publish(true)));
    else if (step === "others") model.publish(false);
    // told on a session that ends under it; or not at all, as when our own queue is full
    else if (step === "lost") model.publish(true);
    else if (step === "again") notice(last);
    else if (step === "settle") await settle();
    else {
      inbox.attach(undefined);
      await settle();
      if (step === "restart") inbox = open();
      attach();
    }
  }
  inbox.latest(model.awaited());
  await settle();
  return { delivered, wanted: model.mine };
}

test("I7: whatever is lost, cut, sent again or meant for others: each job that is meant runs once, in order", async () => {
  const step = fc.constantFrom<Step>("again", "cut", "lost", "mine", "mine", "others", "restart", "settle");
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const { delivered, wanted } = await run(steps);
      expect(delivered).toEqual(wanted);
    }),
    { numRuns: 150 },
  );
});
