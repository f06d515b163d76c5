import type { Json } from "../../core/json.ts";
import { z } from "../../core/schema.ts";
import { PLACES } from "../leakcheck/place-names.ts";
import { defineFunction } from "./function.ts";

/** `leakcheck.*`: whether a key leaves traces on this machine. */
export const leakcheckFunctions = [
  defineFunction({
    name: "leakcheck.run",
    summary: "Leases a canary, passes it on as a key is passed on, and hunts for it; fails when it finds it anywhere.",
    kind: "quick",
    positional: [],
    params: z.strictObject({
      time: z.number().positive().max(3600).default(60).describe("Most seconds that the hunt takes."),
      max_mib: z
        .number()
        .int()
        .positive()
        .max(1_048_576)
        .default(1024)
        .describe("Most MiB that are read of one place."),
      plant: z
        .union([z.enum(PLACES).transform((place) => [place]), z.array(z.enum(PLACES))])
        .default([])
        .describe("Places where the canary is leaked on purpose, to see it found."),
    }),
    run: async ({ time, max_mib: mebibytes, plant }, context) => {
      // loaded late: an idle minion does without
      const { leakcheck } = await import("../leakcheck/leakcheck.ts");
      const report = await leakcheck({ timeMs: time * 1000, bytesOfPlace: mebibytes * 2 ** 20, plant }, context);
      return { data: report as unknown as Json, retcode: report.clean ? 0 : 1 };
    },
  }),
];
