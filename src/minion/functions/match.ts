import { z } from "../../core/schema.ts";
import { type TargetKind, targetMatcher } from "../../sls/target.ts";
import { defineFunction, ok } from "./function.ts";

function matcher(kind: TargetKind, summary: string) {
  return defineFunction({
    name: `match.${kind}`,
    summary,
    kind: "quick",
    positional: ["tgt"],
    params: z.strictObject({ tgt: z.string().min(1).describe("Target expression.") }),
    run: async ({ tgt }, context) => {
      const matches = targetMatcher(kind, tgt);
      const pillar = kind === "pillar" || kind === "compound" ? { pillar: await context.pillar() } : {};
      return ok(matches({ id: context.id, grains: context.grains, ...pillar }));
    },
  });
}

/** `match.*`: whether this minion is meant. */
export const matchFunctions = [
  matcher("glob", "Whether a glob matches this minion's id."),
  matcher("list", "Whether this minion's id is in a list with commas."),
  matcher("grain", "Whether a grain matches, as `os:Debian`."),
  matcher("pillar", "Whether a pillar value matches, as `role:db`."),
  matcher("compound", "Whether a compound expression matches."),
];
