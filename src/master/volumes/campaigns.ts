import type { AuditFact } from "../../core/audit/chain.ts";
import type { JobRequest } from "../../core/control-api.ts";
import { ConfigError, errorMessage } from "../../core/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";
import { Lane } from "../../core/lane.ts";
import type { CampaignEntry, CampaignHost, CampaignRequest } from "../../core/volume-api.ts";
import { MASTER, ROOT } from "../audit/actor.ts";
import type { CampaignsOptions } from "./campaign-options.ts";
import {
  batchSize,
  ending,
  pruneCampaigns,
  putCampaign,
  putCampaignHost,
  readCampaigns,
  roomOf,
  stateOf,
  withHost,
} from "./campaign-record.ts";
import { failedIn, isRotation, reasonOf } from "./rotation-return.ts";

/** How often a campaign looks whether its deadline has passed while only hosts that are away are left. */
const LOOK_MS = 5000;
/** How long a host may be silent in its turn. */
const HOST_SILENT_MS = 120_000;

/** What a host was handed when it asked, until it has returned it. */
interface Taken {
  readonly campaignId: string;
  readonly volumes: Set<string>;
  /** When it last showed that it is at it. */
  sinceMs: number;
}

/**
 * Rotations of many hosts: one batch at a time, one campaign at a time, durable at every step, taken up again after a
 * restart. A host that is away when its turn comes gets its work when it is back, while the campaign runs and one more may
 * rotate: a whole site that comes back at once does not rotate at once.
 */
export class Campaigns {
  readonly #options: CampaignsOptions;
  readonly #campaigns = new Map<string, CampaignEntry>();
  readonly #lane = new Lane();
  readonly #closing = new AbortController();
  #waking = new AbortController();
  readonly #taken = new Map<string, Taken>();
  /** Hosts of the batch that this process waits for: what they return is noted there. */
  readonly #pushed = new Set<string>();
  #running: Promise<void> | undefined;

  private constructor(options: CampaignsOptions) {
    this.#options = options;
  }

  /** Reads what the store knows. Call `begin` when jobs can be published. */
  static async load(options: CampaignsOptions): Promise<Campaigns> {
    const campaigns = new Campaigns(options);
    for (const campaign of await readCampaigns(options.store)) campaigns.#campaigns.set(campaign.id, campaign);
    return campaigns;
  }

  list(): readonly CampaignEntry[] {
    return [...this.#campaigns.values()];
  }

  /** Takes the campaign up that ran when the master ended. */
  begin(): void {
    const open = this.#open();
    if (open) this.#run(open.id, this.#options.settleMs);
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
      const { ids, unknown } = match(request.target);
      if (unknown.length > 0) {
        throw new ConfigError(
          "no-target",
          `cannot begin a campaign: no accepted minion of the id "${unknown.slice(0, 5).join('", "')}"`,
          { hint: "see which there are with `latchkey status`" },
        );
      }
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
      await this.#prune();
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

  /**
   * What a host that was away in its turn is to rotate now; and whether the old slot stays. While as many rotate as may at
   * once, or have failed as may fail, it is nothing: the host waits for its turn again.
   */
  async work(id: string): Promise<{ readonly volumes: readonly string[]; readonly keepOld: boolean }> {
    const none = { volumes: [], keepOld: false };
    const { left, clock } = this.#options;
    const open = this.#open();
    if (!open || clock.now() >= open.deadline) return none;
    // it may ask again on a new session, in the middle of what it took
    const isTaken = this.#taken.get(id)?.campaignId === open.id;
    if (stateOf(open, id) !== "offline" && !isTaken) return none;
    const volumes = await left(id, open.volumes, open.startedAt);
    if (volumes.length === 0) {
      await this.#settle(open.id, id, "done");
      return none;
    }
    if (!isTaken && !(await this.#claim(open.id, id, "offline"))) {
      const now = this.#campaigns.get(open.id);
      if (now?.state === "running" && stateOf(now, id) === "offline") await this.#settle(open.id, id, "waiting");
      return none;
    }
    this.#take(open.id, id, volumes);
    return { volumes, keepOld: open.keepOld };
  }

  /** A host has returned a run: it may be what a campaign waits for. Never throws for what the host or its pillar says. */
  async returned(id: string, fun: string, isSuccess: boolean, data: Json): Promise<void> {
    if (!isRotation(fun)) return;
    const taken = this.#taken.get(id);
    const campaign = taken ? this.#campaigns.get(taken.campaignId) : this.#open();
    if (!campaign || this.#pushed.has(id)) return;
    const state = stateOf(campaign, id);
    // a host that runs and was not pushed to was at it when the master ended
    const isAtIt = taken !== undefined || state === "running";
    if (!isAtIt && state !== "offline" && state !== "waiting") return;
    try {
      const left = await this.#options.left(id, campaign.volumes, campaign.startedAt);
      if (this.#pushed.has(id)) return;
      const isOfCampaign = isJsonObject(data) ? failedIn(data).some((name) => left.includes(name)) : isAtIt;
      if (!isSuccess && isOfCampaign) return await this.#settle(campaign.id, id, "failed", reasonOf(data));
      if (left.length === 0) return await this.#settle(campaign.id, id, "done");
      for (const volume of isJsonObject(data) ? Object.keys(data) : []) taken?.volumes.delete(volume);
      // it is there, and does nothing for the campaign any more: it takes its turn like any other
      if (!taken || taken.volumes.size === 0) await this.#settle(campaign.id, id, "waiting");
      else taken.sinceMs = this.#options.clock.monotonicMs();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      await this.#settle(campaign.id, id, "failed", error.message);
    }
  }

  #open(): CampaignEntry | undefined {
    return this.list().find(({ state }) => state === "running");
  }

  #run(campaignId: string, settleMs = 0): void {
    const { signal } = this.#closing;
    const work = async () => {
      let waitMs = settleMs;
      while (!signal.aborted) {
        try {
          return await this.#goOn(campaignId, waitMs);
        } catch (error) {
          if (signal.aborted) return;
          const facts = { campaign: campaignId, err: errorMessage(error) };
          this.#options.log.error(facts, "a campaign cannot go on now, and is tried again");
        }
        waitMs = LOOK_MS;
      }
    };
    this.#running = (this.#running ?? Promise.resolve()).then(work);
  }

  /** Takes a campaign to its end, after a pause. */
  async #goOn(campaignId: string, waitMs: number): Promise<void> {
    const { signal } = this.#closing;
    if (waitMs > 0) await this.#options.clock.sleep(waitMs, signal);
    // what ran when the master ended is waited for while it goes on, and else looked at again
    for (const { id, state } of this.#campaigns.get(campaignId)?.hosts ?? []) {
      if (state !== "running" || this.#taken.has(id)) continue;
      if (this.#options.isRotating(id)) this.#take(campaignId, id, []);
      else await this.#note(campaignId, id, "waiting");
    }
    while (!signal.aborted) {
      await this.#letGo();
      await this.#passOver(campaignId);
      const campaign = this.#campaigns.get(campaignId);
      if (campaign?.state !== "running") return;
      const end = ending(campaign, this.#options.clock.now());
      if (end) return this.#end(campaignId, end);
      const isBusy = await this.#batch(campaign).finally(() => this.#pushed.clear());
      if (!isBusy) await this.#pause(LOOK_MS);
    }
  }

  /** Waits, or until something has changed. */
  async #pause(ms: number): Promise<void> {
    const either = AbortSignal.any([this.#closing.signal, this.#waking.signal]);
    await this.#options.clock.sleep(ms, either).catch(() => undefined);
    this.#waking = new AbortController();
  }

  /** Hosts that took their work, and then went away or said nothing more, hold nobody up: they may ask again. */
  async #letGo(): Promise<void> {
    const { isConnected, isRotating, clock } = this.#options;
    for (const [id, taken] of this.#taken) {
      if (isRotating(id)) taken.sinceMs = clock.monotonicMs();
      const isSilent = clock.monotonicMs() - taken.sinceMs >= HOST_SILENT_MS;
      if (isConnected(id) && !isSilent) continue;
      const reason = isSilent ? "no return of its rotation came" : "connection lost during its rotation";
      await this.#settle(taken.campaignId, id, "offline", reason);
    }
  }

  /** Hosts whose key went meanwhile have no turn any more: nobody waits for them to the deadline. */
  async #passOver(campaignId: string): Promise<void> {
    const accepted = new Set(this.#options.acceptedIds());
    for (const { id, state } of this.#campaigns.get(campaignId)?.hosts ?? []) {
      if (accepted.has(id) || (state !== "waiting" && state !== "offline")) continue;
      await this.#note(campaignId, id, "skipped", "its key is not accepted any more");
    }
  }

  #take(campaignId: string, id: string, volumes: readonly string[]): void {
    const sinceMs = this.#options.clock.monotonicMs();
    this.#taken.set(id, { campaignId, volumes: new Set(volumes), sinceMs });
  }

  /** As many hosts as may begin, to the end of their runs; false when there is nothing to do now. */
  async #batch(campaign: CampaignEntry): Promise<boolean> {
    const { isConnected, left, audit, clock } = this.#options;
    if (roomOf(campaign) === 0) return false;
    const groups = new Map<string, string[]>();
    const chosen: string[] = [];
    for (const { id, state } of campaign.hosts) {
      if (state !== "waiting") continue;
      if (!isConnected(id)) {
        await this.#note(campaign.id, id, "offline", "not connected: it rotates in its next startup run");
        continue;
      }
      let volumes: readonly string[];
      try {
        volumes = await left(id, campaign.volumes, campaign.startedAt);
      } catch (error) {
        await this.#note(campaign.id, id, "failed", errorMessage(error));
        continue;
      }
      if (volumes.length === 0) {
        await this.#note(campaign.id, id, "skipped", "no volume is left to rotate");
        continue;
      }
      if (!(await this.#claim(campaign.id, id, "waiting"))) break;
      this.#pushed.add(id);
      const group = volumes.join(",");
      groups.set(group, [...(groups.get(group) ?? []), id]);
      chosen.push(id);
    }
    if (chosen.length === 0) return campaign !== this.#campaigns.get(campaign.id);
    const data = { campaign: campaign.id, hosts: chosen };
    await audit.append({ at: clock.now(), kind: "campaign-batch", ...MASTER, subject: "", data });
    const pushes = [...groups].map(async ([volumes, ids]) => this.#push(campaign, ids, volumes.split(",")));
    for (const push of await Promise.allSettled(pushes)) if (push.status === "rejected") throw push.reason;
    return true;
  }

  async #push(campaign: CampaignEntry, ids: readonly string[], volumes: readonly string[]): Promise<void> {
    const kwargs: JsonObject = campaign.keepOld ? { keep_old: true } : {};
    const target = { kind: "list", expr: ids.join(",") } as const;
    const request: JobRequest = { target, fun: "volume.rotate", args: [...volumes], kwargs, timeoutMs: HOST_SILENT_MS };
    const { signal } = this.#closing;
    for await (const event of await this.#options.push(request, signal)) {
      if (event.event === "start") {
        for (const id of event.offline) await this.#miss(campaign.id, id, "not connected");
      } else if (event.event === "return") {
        await this.#note(
          campaign.id,
          event.id,
          event.success ? "done" : "failed",
          event.success ? "" : reasonOf(event.data),
        );
      } else if (event.event === "missing") {
        // it may have begun: what is left is asked for when it is back
        await this.#miss(campaign.id, event.id, event.reason);
      }
    }
  }

  async #miss(campaignId: string, id: string, reason: string): Promise<void> {
    await this.#note(campaignId, id, "offline", reason);
    this.#pushed.delete(id);
  }

  /** Makes a host one of those that rotate now, if it is still `from` and one more may; false when not. */
  async #claim(campaignId: string, id: string, from: CampaignHost["state"]): Promise<boolean> {
    return this.#lane.run(async () => {
      const campaign = this.#campaigns.get(campaignId);
      if (!campaign || stateOf(campaign, id) !== from || roomOf(campaign) === 0) return false;
      await this.#put(campaign, { id, state: "running", reason: "" });
      return true;
    });
  }

  /** Notes what became of a host that a campaign waited for, and has the campaign look. */
  async #settle(campaignId: string, id: string, state: CampaignHost["state"], reason = ""): Promise<void> {
    await this.#note(campaignId, id, state, reason);
    this.#taken.delete(id);
    this.#waking.abort();
  }

  async #note(campaignId: string, id: string, state: CampaignHost["state"], reason = ""): Promise<void> {
    await this.#lane.run(async () => {
      const campaign = this.#campaigns.get(campaignId);
      if (campaign) await this.#put(campaign, { id, state, reason });
    });
  }

  async #put(campaign: CampaignEntry, host: CampaignHost): Promise<void> {
    const { store, events } = this.#options;
    await store.write([putCampaignHost(campaign.id, host)]);
    this.#campaigns.set(campaign.id, withHost(campaign, host));
    events.emit(`campaign/${host.state}/${host.id}`, { campaign: campaign.id, ...host });
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
    this.#waking.abort();
  }

  /** Old ones that stay for now are no reason against a campaign that has begun. */
  async #prune(): Promise<void> {
    const { store, log } = this.#options;
    try {
      const old = await pruneCampaigns(store, [...this.#campaigns.keys()]);
      for (const id of old) this.#campaigns.delete(id);
    } catch (error) {
      log.warn({ err: errorMessage(error) }, "old campaigns cannot be taken out of the store now");
    }
  }

  async #keep(campaign: CampaignEntry, fact: AuditFact): Promise<void> {
    await this.#options.audit.append(fact, [putCampaign(campaign)]);
    this.#campaigns.set(campaign.id, campaign);
  }
}
