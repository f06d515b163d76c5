import type { AuditFact } from "../../core/audit/chain.ts";
import type { Clock } from "../../core/clock.ts";
import type { JobEvent, JobRequest } from "../../core/control-api.ts";
import { ConfigError, errorMessage } from "../../core/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";
import type { Logger } from "../../core/log.ts";
import type { CampaignEntry, CampaignHost, CampaignRequest } from "../../core/volume-api.ts";
import { MASTER, ROOT } from "../audit/actor.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { EventBus } from "../events.ts";
import { Lane } from "../lane.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";
import { batchSize, campaignKey, CAMPAIGNS, campaignSchema, ending, withHost } from "./campaign-record.ts";

/** How often a campaign looks whether its deadline has passed while only hosts that are away are left. */
const LOOK_MS = 5000;
/** How long a host may be silent in its turn. */
const HOST_SILENT_MS = 120_000;

/** What campaigns work with. */
export interface CampaignsOptions {
  readonly store: Store;
  readonly audit: Pick<AuditLog, "append">;
  readonly events: EventBus;
  readonly log: Logger;
  readonly clock: Clock;
  /** Accepted minions that a target matches. Throws ConfigError `bad-target`. */
  readonly match: (target: CampaignRequest["target"]) => readonly string[];
  readonly isConnected: (id: string) => boolean;
  /** Volumes of a host that are left to rotate since a moment, of those named (or of all). Throws for a broken pillar. */
  readonly left: (id: string, volumes: readonly string[], since: number) => Promise<readonly string[]>;
  /** Publishes a job; its events, to the last. */
  readonly push: (request: JobRequest, signal: AbortSignal) => Promise<AsyncIterable<JobEvent>>;
}

/**
 * Rotations of many hosts: one batch at a time, one campaign at a time, durable at every step, taken up again after a
 * restart. A host that is away when its turn comes gets its work when it is back, while the campaign runs.
 */
export class Campaigns {
  readonly #options: CampaignsOptions;
  readonly #campaigns = new Map<string, CampaignEntry>();
  readonly #lane = new Lane();
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;

  private constructor(options: CampaignsOptions) {
    this.#options = options;
  }

  /** Reads what the store knows. Call `begin` when jobs can be published. */
  static async load(options: CampaignsOptions): Promise<Campaigns> {
    const campaigns = new Campaigns(options);
    for (const entry of await options.store.list(CAMPAIGNS)) {
      const campaign = decodeRecord(campaignSchema, entry);
      campaigns.#campaigns.set(campaign.id, campaign);
    }
    return campaigns;
  }

  list(): readonly CampaignEntry[] {
    return [...this.#campaigns.values()];
  }

  /** Takes the campaign up that ran when the master ended. */
  begin(): void {
    const open = this.#open();
    if (open) this.#run(open.id);
  }

  close(): void {
    this.#closing.abort();
  }

  /** Begins a campaign. Throws ConfigError `campaign-runs`, `bad-batch`, `no-target`, `bad-target`. */
  async start(request: CampaignRequest): Promise<CampaignEntry> {
    const { match, clock } = this.#options;
    const started = await this.#lane.run(async () => {
      const other = this.#open();
      if (other) {
        throw new ConfigError(
          "campaign-runs",
          `cannot begin a campaign: another one runs since ${new Date(other.startedAt).toISOString()}`,
          {
            hint: "see it with `latchkey volume rotate status`, end it with `latchkey volume rotate stop`",
          },
        );
      }
      const ids = match(request.target);
      if (ids.length === 0) throw new ConfigError("no-target", "cannot begin a campaign: no accepted minion matches");
      const size = batchSize(request.batch, ids.length);
      if (size === undefined) {
        throw new ConfigError("bad-batch", `cannot use the batch "${request.batch}"`, { hint: "write 10% or 5" });
      }
      const now = clock.now();
      const campaign: CampaignEntry = {
        id: String(now).padStart(15, "0"),
        startedAt: now,
        deadline: now + request.deadlineMs,
        batch: request.batch,
        batchSize: size,
        maxFailures: request.maxFailures,
        keepOld: request.keepOld,
        volumes: request.volumes,
        state: "running",
        reason: "",
        hosts: ids.map((id) => ({ id, state: "waiting", reason: "" })),
      };
      const { target, ...asked } = request;
      const data = {
        ...asked,
        volumes: [...asked.volumes],
        target: { ...target },
        hosts: ids.length,
        campaign: campaign.id,
      };
      await this.#keep(campaign, { at: now, kind: "campaign-started", ...ROOT, subject: "", data });
      return campaign;
    });
    this.#run(started.id);
    return started;
  }

  /** Ends the campaign that runs; what is under way at hosts ends by itself. Throws ConfigError `no-campaign`. */
  async stop(): Promise<CampaignEntry> {
    const open = this.#open();
    if (!open) throw new ConfigError("no-campaign", "cannot stop: no campaign runs");
    await this.#end(open.id, { state: "stopped", reason: "an operator stopped it" });
    return this.#campaigns.get(open.id) ?? open;
  }

  /** What a host that was away in its turn is to rotate now; and whether the old slot stays. */
  async work(id: string): Promise<{ readonly volumes: readonly string[]; readonly keepOld: boolean }> {
    const open = this.#open();
    const host = open?.hosts.find((one) => one.id === id);
    if (!open || host?.state !== "offline" || this.#options.clock.now() >= open.deadline) {
      return { volumes: [], keepOld: false };
    }
    const volumes = await this.#options.left(id, open.volumes, open.startedAt);
    if (volumes.length === 0) await this.#note(open.id, id, "done");
    return { volumes, keepOld: open.keepOld };
  }

  /** A host has returned a run: it may be what a campaign waits for. Never throws for what the host or its pillar says. */
  async returned(id: string, fun: string, isSuccess: boolean, data: Json): Promise<void> {
    const open = this.#open();
    if (fun !== "volume.rotate" || open?.hosts.find((one) => one.id === id)?.state !== "offline") return;
    if (!isSuccess) return this.#note(open.id, id, "failed", reasonOf(data));
    try {
      const left = await this.#options.left(id, open.volumes, open.startedAt);
      if (left.length === 0) await this.#note(open.id, id, "done");
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      await this.#note(open.id, id, "failed", error.message);
    }
  }

  #open(): CampaignEntry | undefined {
    return this.list().find(({ state }) => state === "running");
  }

  #run(campaignId: string): void {
    const { log, clock } = this.#options;
    const { signal } = this.#closing;
    const work = async () => {
      // what ran when the master ended is looked at again: a rotation that is under way is gone on with
      for (const { id, state } of this.#campaigns.get(campaignId)?.hosts ?? []) {
        if (state === "running") await this.#note(campaignId, id, "waiting");
      }
      for (;;) {
        const campaign = this.#campaigns.get(campaignId);
        if (campaign?.state !== "running" || signal.aborted) return;
        const end = ending(campaign, clock.now());
        if (end) return this.#end(campaignId, end);
        if (!(await this.#batch(campaign))) await clock.sleep(LOOK_MS, signal);
      }
    };
    this.#running = (this.#running ?? Promise.resolve()).then(work).catch((error: unknown) => {
      if (!signal.aborted) log.error({ campaign: campaignId, err: errorMessage(error) }, "a campaign cannot go on now");
    });
  }

  /** One batch, to its end; false when no host is left that could be asked. */
  async #batch(campaign: CampaignEntry): Promise<boolean> {
    const { isConnected, left, audit, clock } = this.#options;
    const groups = new Map<string, string[]>();
    const chosen: string[] = [];
    for (const { id, state } of campaign.hosts) {
      if (state !== "waiting" || chosen.length >= campaign.batchSize) continue;
      if (!isConnected(id)) {
        await this.#note(campaign.id, id, "offline", "not connected: it rotates in its next startup run");
        continue;
      }
      try {
        const volumes = await left(id, campaign.volumes, campaign.startedAt);
        if (volumes.length === 0) {
          await this.#note(campaign.id, id, "skipped", "no volume is left to rotate");
          continue;
        }
        const group = volumes.join(",");
        groups.set(group, [...(groups.get(group) ?? []), id]);
        chosen.push(id);
      } catch (error) {
        await this.#note(campaign.id, id, "failed", errorMessage(error));
      }
    }
    if (chosen.length === 0) return campaign.hosts.some(({ state }) => state === "waiting");
    const data = { campaign: campaign.id, hosts: chosen };
    await audit.append({ at: clock.now(), kind: "campaign-batch", ...MASTER, subject: "", data });
    await Promise.all([...groups].map(async ([volumes, ids]) => this.#push(campaign, ids, volumes.split(","))));
    return true;
  }

  async #push(campaign: CampaignEntry, ids: readonly string[], volumes: readonly string[]): Promise<void> {
    for (const id of ids) await this.#note(campaign.id, id, "running");
    const kwargs: JsonObject = campaign.keepOld ? { keep_old: true } : {};
    const target = { kind: "list", expr: ids.join(",") } as const;
    const request: JobRequest = { target, fun: "volume.rotate", args: [...volumes], kwargs, timeoutMs: HOST_SILENT_MS };
    const { signal } = this.#closing;
    for await (const event of await this.#options.push(request, signal)) {
      if (event.event === "start") {
        for (const id of event.offline) await this.#note(campaign.id, id, "offline", "not connected");
      } else if (event.event === "return") {
        await this.#note(
          campaign.id,
          event.id,
          event.success ? "done" : "failed",
          event.success ? "" : reasonOf(event.data),
        );
      } else if (event.event === "missing") {
        // it may have begun: what is left is asked for when it is back
        await this.#note(campaign.id, event.id, "offline", event.reason);
      }
    }
  }

  async #note(campaignId: string, id: string, state: CampaignHost["state"], reason = ""): Promise<void> {
    await this.#lane.run(async () => {
      const campaign = this.#campaigns.get(campaignId);
      if (!campaign) return;
      const next = withHost(campaign, id, state, reason);
      await this.#options.store.write([putRecord(campaignKey(campaignId), next)]);
      this.#campaigns.set(campaignId, next);
    });
    this.#options.events.emit(`campaign/${state}/${id}`, { campaign: campaignId, id, state, reason });
  }

  async #end(campaignId: string, end: Pick<CampaignEntry, "reason" | "state">): Promise<void> {
    await this.#lane.run(async () => {
      const campaign = this.#campaigns.get(campaignId);
      if (campaign?.state !== "running") return;
      const counts = { done: 0, failed: 0, offline: 0, waiting: 0, running: 0, skipped: 0 };
      for (const { state } of campaign.hosts) counts[state] += 1;
      const data = { campaign: campaignId, ...end, ...counts };
      await this.#keep(
        { ...campaign, ...end },
        { at: this.#options.clock.now(), kind: "campaign-ended", ...MASTER, subject: "", data },
      );
    });
    this.#options.events.emit(`campaign/ended/${campaignId}`, { campaign: campaignId, ...end });
  }

  async #keep(campaign: CampaignEntry, fact: AuditFact): Promise<void> {
    await this.#options.audit.append(fact, [putRecord(campaignKey(campaign.id), campaign)]);
    this.#campaigns.set(campaign.id, campaign);
  }
}

/** What a host said of the volumes that failed, in one line. */
function reasonOf(data: Json): string {
  const textOf = (value: Json | undefined) => (typeof value === "string" ? value : JSON.stringify(value ?? ""));
  const failed = isJsonObject(data)
    ? Object.entries(data).flatMap(([name, outcome]) =>
        isJsonObject(outcome) && outcome["result"] !== true ? `${name}: ${textOf(outcome["comment"])}` : [],
      )
    : [textOf(data)];
  return failed.join("; ").replaceAll("\n", " ").slice(0, 500);
}
