import { ConfigError } from "../core/errors.ts";
import type { CampaignEntry, CampaignHost, CampaignList, CampaignRequest } from "../core/volume-api.ts";
import { parseCount, parseDuration } from "./arguments.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { timeText } from "./format/table.ts";
import { startProgress } from "./progress.ts";
import type { VolumeJobOptions } from "./volume-job.ts";
import { parseVolumeTarget } from "./volume-target.ts";

const LOOK_MS = 300;

/** What a campaign is asked for with. */
export interface CampaignOptions extends VolumeJobOptions {
  readonly batch: string;
  readonly maxFailures: string;
  readonly deadline: string;
  readonly keepOld?: true;
}

/** One line that says how far a campaign is. */
export function campaignText({ hosts, state, reason, deadline }: CampaignEntry): string {
  const states: readonly CampaignHost["state"][] = ["done", "failed", "running", "waiting", "offline", "skipped"];
  const counts = states.flatMap((one) => {
    const count = hosts.filter((host) => host.state === one).length;
    return count === 0 ? [] : [`${count} ${one}`];
  });
  const until = state === "running" ? `, until ${timeText(deadline)}` : reason === "" ? "" : ` (${reason})`;
  return sanitiseLine(`campaign ${state}: ${counts.join(", ")} of ${hosts.length} hosts${until}`);
}

const isOver = ({ state, hosts }: CampaignEntry): boolean =>
  state !== "running" || !hosts.some((host) => host.state === "waiting" || host.state === "running");

/**
 * `volume rotate --batch`: begins a campaign at the master and follows it until only hosts that are away are left. The
 * master goes on by itself when this ends. Returns 0 when no host failed.
 */
export async function runCampaign(target: string, options: CampaignOptions, context: Context): Promise<number> {
  const { client, terminal, paint, signal, now } = context;
  const { minions, volumes } = parseVolumeTarget(target);
  if (options.list && options.grain) throw new ConfigError("bad-target", "cannot use both -L and -G: choose one");
  const request: CampaignRequest = {
    target: { kind: options.list ? "list" : options.grain ? "grain" : "glob", expr: minions },
    volumes,
    batch: options.batch,
    maxFailures: parseCount(options.maxFailures),
    deadlineMs: parseDuration(options.deadline),
    keepOld: options.keepOld === true,
  };
  let campaign = await client.request<CampaignEntry>("POST", "/v1/campaigns", request);
  const progress = startProgress(terminal, campaign.hosts.length, now);
  const told = new Set<string>();
  const { setTimeout: delay } = await import("node:timers/promises");
  for (;;) {
    for (const { id, state, reason } of campaign.hosts) {
      if (state === "running") progress.host(id, "rotates");
      if (state === "waiting" || state === "running" || told.has(id)) continue;
      told.add(id);
      progress.clear();
      const text = `${id}: ${state}${reason === "" ? "" : `: ${reason}`}`;
      terminal.print(
        `${paint(state === "failed" ? "red" : state === "done" ? "green" : "yellow", sanitiseLine(text))}\n`,
      );
      progress.done(id);
    }
    if (isOver(campaign)) break;
    await delay(LOOK_MS, undefined, { signal });
    const { campaigns } = await client.request<CampaignList>("GET", "/v1/campaigns");
    campaign = campaigns.find(({ id }) => id === campaign.id) ?? campaign;
  }
  progress.stop();
  terminal.print(`${campaignText(campaign)}\n`);
  return campaign.hosts.some(({ state }) => state === "failed") ? 1 : 0;
}

/** `volume rotate stop`: no further batch is begun. */
export async function stopCampaign({ client, terminal }: Context): Promise<number> {
  terminal.print(`${campaignText(await client.request<CampaignEntry>("POST", "/v1/campaigns/stop", {}))}\n`);
  return 0;
}
