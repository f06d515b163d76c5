import { z } from "../../core/schema.ts";
import type { CampaignEntry, CampaignHost } from "../../core/volume-api.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Change, Store } from "../store/store.ts";

/** Below it, campaigns by their id, `campaign/<id>`; below each, what became of a host: `campaign/<id>/<minion id>`. */
const CAMPAIGNS = "campaign/";
const campaignKey = (id: string): string => `${CAMPAIGNS}${id}`;
/** Campaigns that are kept: one of 10,000 hosts is a megabyte. */
const KEEP = 10;

const hostSchema: z.ZodType<Omit<CampaignHost, "id">> = z.strictObject({
  state: z.enum(["waiting", "running", "done", "failed", "offline", "skipped"]),
  reason: z.string(),
});

/** A campaign as it is stored; its hosts wait unless they have a record of their own. */
const campaignSchema = z.strictObject({
  id: z.string(),
  startedAt: z.number(),
  deadline: z.number(),
  batch: z.string(),
  batchSize: z.number().int().positive(),
  maxFailures: z.number().int().positive(),
  keepOld: z.boolean(),
  volumes: z.array(z.string()),
  state: z.enum(["running", "done", "stopped", "expired"]),
  reason: z.string(),
  hosts: z.array(z.string()),
});

/** Every campaign that the store has, the oldest first. */
export async function readCampaigns(store: Store): Promise<readonly CampaignEntry[]> {
  const campaigns: CampaignEntry[] = [];
  for (const { key, value } of await store.list(CAMPAIGNS)) {
    if (key.split("/").length > 2) continue;
    const campaign = decodeRecord(campaignSchema, { key, value });
    const own = await store.list(`${key}/`);
    const known = new Map(own.map((entry) => [entry.key.slice(key.length + 1), decodeRecord(hostSchema, entry)]));
    const waiting = { state: "waiting", reason: "" } as const;
    campaigns.push({ ...campaign, hosts: campaign.hosts.map((id) => ({ id, ...(known.get(id) ?? waiting) })) });
  }
  return campaigns;
}

/** The change that keeps a campaign itself; not what became of its hosts. */
export function putCampaign(campaign: CampaignEntry): Change {
  return putRecord(campaignKey(campaign.id), { ...campaign, hosts: campaign.hosts.map(({ id }) => id) });
}

/** The change that keeps what became of one host: a small one, however many hosts there are. */
export function putCampaignHost(campaignId: string, { id, state, reason }: CampaignHost): Change {
  return putRecord(`${campaignKey(campaignId)}/${id}`, { state, reason });
}

/** Takes all but the newest campaigns out of the store; the ids of those that went. */
export async function pruneCampaigns(store: Store, ids: readonly string[]): Promise<readonly string[]> {
  const old = ids.toSorted().slice(0, -KEEP);
  for (const id of old) {
    const hosts = await store.list(`${campaignKey(id)}/`);
    await store.write([campaignKey(id), ...hosts.map(({ key }) => key)].map((key) => ({ op: "delete", key })));
  }
  return old;
}

/** How many hosts `10%` or `5` of so many are; never less than one. Undefined for anything else. */
export function batchSize(batch: string, hosts: number): number | undefined {
  const match = /^(\d{1,6})(%?)$/u.exec(batch);
  const value = Number(match?.[1] ?? 0);
  if (match === null || value < 1 || (match[2] === "%" && value > 100)) return undefined;
  return match[2] === "%" ? Math.max(1, Math.floor((hosts * value) / 100)) : value;
}

/** The campaign with what became of one host. */
export function withHost(campaign: CampaignEntry, changed: CampaignHost): CampaignEntry {
  return { ...campaign, hosts: campaign.hosts.map((host) => (host.id === changed.id ? changed : host)) };
}

/** What became of one host; undefined for one that is not part of it. */
export function stateOf(campaign: CampaignEntry, id: string): CampaignHost["state"] | undefined {
  return campaign.hosts.find((host) => host.id === id)?.state;
}

/** How many further hosts may begin now. */
export function roomOf({ hosts, state, batchSize: size, maxFailures }: CampaignEntry): number {
  const count = (wanted: CampaignHost["state"]) => hosts.filter((host) => host.state === wanted).length;
  return state !== "running" || count("failed") >= maxFailures ? 0 : Math.max(0, size - count("running"));
}

/** Why a campaign that runs must end now; undefined while it may go on. */
export function ending(campaign: CampaignEntry, now: number): Pick<CampaignEntry, "reason" | "state"> | undefined {
  const failed = campaign.hosts.filter(({ state }) => state === "failed").length;
  if (failed >= campaign.maxFailures) return { state: "stopped", reason: `${failed} hosts failed` };
  if (campaign.hosts.every(({ state }) => ["done", "failed", "skipped"].includes(state)))
    return { state: "done", reason: "" };
  return now >= campaign.deadline ? { state: "expired", reason: "its deadline has passed" } : undefined;
}
