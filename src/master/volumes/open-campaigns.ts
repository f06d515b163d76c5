import { targetMatcher } from "../../sls/target.ts";
import type { Hosts } from "../hosts.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { unknownIds } from "../jobs/named-ids.ts";
import type { Pushes } from "../release/pushes.ts";
import type { PillarRoom } from "../pillar-room.ts";
import type { CampaignsOptions } from "./campaign-options.ts";
import { Campaigns } from "./campaigns.ts";
import { isRotation } from "./rotation-return.ts";
import type { Rotations } from "./rotations.ts";
import { volumesLeft } from "./volumes-left.ts";

/** The rooms that campaigns lead to. */
export interface CampaignRooms extends Pick<
  CampaignsOptions,
  "acceptedIds" | "audit" | "clock" | "events" | "log" | "settleMs" | "store"
> {
  readonly hosts: Pick<Hosts, "grains" | "session" | "status">;
  readonly jobs: Pick<Jobs, "start">;
  readonly pushes: Pick<Pushes, "byRoot">;
  readonly rotations: Pick<Rotations, "list">;
  readonly pillar: Pick<PillarRoom, "compile">;
}

/** Opens the campaigns over the master's other rooms. */
export async function openCampaigns(rooms: CampaignRooms): Promise<Campaigns> {
  const { hosts, jobs, pushes, rotations, pillar, acceptedIds } = rooms;
  const grainsOf = (id: string) => hosts.grains(id) ?? {};
  return Campaigns.load({
    ...rooms,
    match: ({ kind, expr }) => {
      const matches = targetMatcher(kind, expr);
      const accepted = acceptedIds();
      const ids = accepted.filter((id) => matches({ id, grains: grainsOf(id) }));
      return { ids, unknown: unknownIds({ kind, expr }, accepted) };
    },
    isConnected: (id) => hosts.session(id) !== undefined,
    isRotating: (id) => hosts.status([id]).some(({ running }) => running.some(({ fun }) => isRotation(fun))),
    left: async (id, names, since) => {
      const compiled = await pillar.compile(id, grainsOf(id));
      return volumesLeft(compiled, await rotations.list(id), names, since);
    },
    push: async (request, ending) => (await jobs.start(request, await pushes.byRoot())).read(ending),
  });
}
