import type { FastifyInstance } from "fastify";
import type { RotationList, VolumeList } from "../../core/volume-api.ts";
import type { LastLeases } from "../leases/list.ts";
import type { Rotations } from "./rotations.ts";
import type { Volumes } from "./volumes.ts";

/** Adds the routes over volumes. Their types are in core/volume-api.ts. */
export function addVolumeRoutes(
  app: FastifyInstance,
  volumes: Pick<Volumes, "list">,
  rotations: Pick<Rotations, "list">,
  lastLeases: () => Promise<LastLeases>,
): void {
  app.get<{ Querystring: { minion?: string } }>("/v1/volumes", async ({ query }): Promise<VolumeList> => {
    const leases = await lastLeases();
    const all = volumes.list(query.minion);
    return { volumes: all.map((entry) => ({ ...entry, lastLeaseAt: leases(entry.id, entry.keyPath) })) };
  });
  app.get<{ Querystring: { minion?: string } }>("/v1/rotations", async ({ query }): Promise<RotationList> => ({
    rotations: await rotations.list(query.minion),
  }));
}
