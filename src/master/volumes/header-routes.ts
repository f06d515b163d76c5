import type { FastifyInstance } from "fastify";
import { z } from "../../core/schema.ts";
import { ConfigError } from "../../core/errors.ts";
import type { HeaderAccepted, HeaderList, HeaderProof } from "../../core/volume-header.ts";
import { globMatcher } from "../../sls/glob.ts";
import { parseBody } from "../api/answer.ts";
import type { Headers } from "./headers.ts";

const proveSchema = z.strictObject({ id: z.string().min(1).max(253), volume: z.string().min(1).max(63) });

/** Adds the routes over headers in escrow; `accept` is false for a volume that is not declared. Their types are in core/volume-header.ts. */
export function addHeaderRoutes(
  app: FastifyInstance,
  headers: Headers,
  accept: (id: string, volume: string) => Promise<boolean>,
): void {
  app.post("/v1/headers/accept", async ({ body }): Promise<HeaderAccepted> => {
    const { id, volume } = parseBody(proveSchema, body);
    if (await accept(id, volume)) return { id, volume };
    throw new ConfigError(
      "no-volume",
      `cannot accept a header: the pillar of "${id}" declares no encrypted "${volume}"`,
    );
  });
  app.get<{ Querystring: { match?: string; volumes?: string } }>(
    "/v1/headers",
    async ({ query }): Promise<HeaderList> => {
      const isMeant = globMatcher(query.match ?? "*");
      const names = query.volumes?.split(",");
      const all = await headers.list();
      return {
        headers: all.filter(({ id, volume }) => isMeant(id) && (names === undefined || names.includes(volume))),
      };
    },
  );
  app.post("/v1/headers/prove", async ({ body }): Promise<HeaderProof> => {
    const { id, volume } = parseBody(proveSchema, body);
    const copy = await headers.verifiedCopy(id, volume);
    const [newest] = await headers.list(id, volume);
    return {
      id,
      volume,
      header: copy?.header ?? newest?.version ?? 0,
      digest: copy?.digest ?? newest?.digest ?? "",
      version: copy?.keyVersion ?? 0,
      at: copy?.at ?? 0,
    };
  });
}
