import { z } from "../../core/schema.ts";
import type { CampaignEntry, CampaignHost } from "../../core/volume-api.ts";

/** Below it, campaigns by their id: `campaign/<id>`. */
export const CAMPAIGNS = "campaign/";
export const campaignKey = (id: string): string => `${CAMPAIGNS}${id}`;

const hostSchema: z.ZodType<CampaignHost> = z.strictObject({
  id: z.string(),
  state: z.enum(["waiting", "running", "done", "failed", "offline", "skipped"]),
  reason: z.string(),
});

/** The schema of a campaign as it is stored. */
export const campaignSchema: z.ZodType<CampaignEntry> = z.strictObject({
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
  hosts: z.array(hostSchema),
});

/** How many hosts `10%` or `5` of so many are; never less than one. Undefined for anything else. */
export function batchSize(batch: string, hosts: number): number | undefined {
  const match = /^(\d{1,6})(%?)$/u.exec(batch);
  const value = Number(match?.[1] ?? 0);
  if (match === null || value < 1 || (match[2] === "%" && value > 100)) return undefined;
  return match[2] === "%" ? Math.max(1, Math.floor((hosts * value) / 100)) : value;
}

/** The campaign with what became of one host. */
export function withHost(
  campaign: CampaignEntry,
  id: string,
  state: CampaignHost["state"],
  reason = "",
): CampaignEntry {
  return { ...campaign, hosts: campaign.hosts.map((host) => (host.id === id ? { id, state, reason } : host)) };
}

/** Why a campaign that runs must end now; undefined while it may go on. */
export function ending(campaign: CampaignEntry, now: number): Pick<CampaignEntry, "reason" | "state"> | undefined {
  const failed = campaign.hosts.filter(({ state }) => state === "failed").length;
  if (failed >= campaign.maxFailures) return { state: "stopped", reason: `${failed} hosts failed` };
  if (campaign.hosts.every(({ state }) => ["done", "failed", "skipped"].includes(state)))
    return { state: "done", reason: "" };
  return now >= campaign.deadline ? { state: "expired", reason: "its deadline has passed" } : undefined;
}
