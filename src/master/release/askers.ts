import { z } from "../../core/schema.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Change, Store } from "../store/store.ts";

const pushSchema = z.object({
  id: z.string(),
  jid: z.string(),
  by: z.string(),
  /** boot_id of the host when the job was pushed. */
  bootId: z.string(),
  /** When the job returned; null while it runs. */
  endedAt: z.number().nullable(),
  /** boot_id of the boot that it is taken to have caused; "" while there is none. */
  nextBoot: z.string(),
  /** Forgotten then. */
  until: z.number(),
});
type Push = z.infer<typeof pushSchema>;

const PREFIX = "release/asked/";
const keyOf = ({ id, jid }: Pick<Push, "id" | "jid">) => `${PREFIX}${id}/${jid}`;
/** A job that never returned counts as running so long; a boot that a job caused is remembered so long. */
const KEEP_MS = 86_400_000;
/** A host that starts again so soon after a job has returned did so because of it. */
const CAUSED_MS = 900_000;
const ONLY_LOOKS = /^(?:(?:audit|grains|match|pillar|sys|test)\.|(?:volume\.(?:devs|plan|status)|leakcheck\.run)$)/u;

/** Whether a function only looks: it asks for no key and restarts nothing. */
export function onlyLooks(fun: string): boolean {
  return ONLY_LOOKS.test(fun);
}

export interface AskersOptions {
  readonly store: Store;
  readonly now: () => number;
  /** Kernel boot_id of a host, as last heard; "" when unknown. */
  readonly bootOf: (id: string) => string;
  /** Hears of what could not be stored. */
  readonly report: (error: unknown) => void;
}

/** Who pushed what runs on which host: whoever made a host ask for a key cannot approve that it gets it. */
export class Askers {
  readonly #options: AskersOptions;
  readonly #hosts = new Map<string, Map<string, Push>>();

  private constructor(options: AskersOptions) {
    this.#options = options;
  }

  /** Reads what the store knows. */
  static async load(options: AskersOptions): Promise<Askers> {
    const askers = new Askers(options);
    for (const entry of await options.store.list(PREFIX)) askers.#keep(decodeRecord(pushSchema, entry));
    return askers;
  }

  /** A job that is about to be published: what makes its asker durable; `apply` once it is. */
  pushed(job: { readonly jid: string; readonly fun: string; readonly ids: readonly string[] }, by: string) {
    const { now, bootOf } = this.#options;
    const until = now() + KEEP_MS;
    const pushes = onlyLooks(job.fun)
      ? []
      : job.ids.map((id): Push => {
          return { id, jid: job.jid, by, bootId: bootOf(id), endedAt: null, nextBoot: "", until };
        });
    return {
      changes: pushes.map((push): Change => putRecord(keyOf(push), push, { ttlMs: KEEP_MS })),
      apply: () => {
        this.#prune();
        for (const push of pushes) this.#keep(push);
      },
    };
  }

  /** The host has returned the job. If that cannot be stored, the job counts as running for longer. */
  returned(id: string, jid: string): void {
    const push = this.#hosts.get(id)?.get(jid);
    if (!push || push.endedAt !== null) return;
    const endedAt = this.#options.now();
    this.#change({ ...push, endedAt, until: push.nextBoot === "" ? endedAt + CAUSED_MS : push.until });
  }

  /** How many jobs are remembered, over all hosts. */
  get size(): number {
    return [...this.#hosts.values()].reduce((sum, pushes) => sum + pushes.size, 0);
  }

  /** Who made this host ask now: by a job that runs in this boot, or that this boot came from. */
  find(id: string, bootId: string, now: number): readonly string[] {
    const pushes = [...(this.#hosts.get(id)?.values() ?? [])].filter((push) => counts(push, bootId, now));
    return [...new Set(pushes.map(({ by }) => by))];
  }

  /** A request came from this boot: it is the one that the jobs before it caused. */
  seen(id: string, bootId: string, now: number): void {
    for (const push of this.#hosts.get(id)?.values() ?? []) {
      if (now >= push.until) this.#hosts.get(id)?.delete(push.jid);
      else if (push.nextBoot === "" && push.bootId !== bootId && push.bootId !== "" && bootId !== "") {
        this.#change({ ...push, nextBoot: bootId, until: now + KEEP_MS });
      }
    }
  }

  /** Forgets what is over, also of hosts that never ask. */
  #prune(): void {
    const now = this.#options.now();
    for (const [id, pushes] of this.#hosts) {
      for (const [jid, { until }] of pushes) if (now >= until) pushes.delete(jid);
      if (pushes.size === 0) this.#hosts.delete(id);
    }
  }

  #change(push: Push): void {
    const { store, now, report } = this.#options;
    this.#keep(push);
    store.write([putRecord(keyOf(push), push, { ttlMs: Math.max(1, push.until - now()) })]).catch(report);
  }

  #keep(push: Push): void {
    const pushes = this.#hosts.get(push.id) ?? new Map<string, Push>();
    this.#hosts.set(push.id, pushes.set(push.jid, push));
  }
}

function counts({ bootId, nextBoot, endedAt, until }: Push, boot: string, now: number): boolean {
  if (now >= until) return false;
  // which boot it is, or was, cannot be told: then it may be the one
  if (boot === "" || bootId === "") return true;
  if (boot === nextBoot) return true;
  return boot === bootId ? endedAt === null : nextBoot === "";
}
