import { ConfigError } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import type { Link, Patience } from "./link.ts";

/**
 * This minion's pillar, compiled by the master. Throws ConfigError `pillar-broken` with the place when it has a mistake:
 * asking again does not mend it, so it is not asked again.
 */
export async function fetchPillar(link: Link, patience: Patience): Promise<JsonObject> {
  const answer = await link.ask("pillar", {}, patience);
  if ("pillar" in answer) return answer.pillar;
  const { kind, file, line } = answer.broken;
  const place = file === undefined ? "" : ` (${file}${line === undefined ? "" : ` line ${line}`})`;
  const why = `cannot use this minion's pillar: ${kind.replaceAll("-", " ")}${place}`;
  throw new ConfigError("pillar-broken", why, {
    hint: "`latchkey pillar show` on the master says what is wrong there",
    facts: { kind, ...(file === undefined ? {} : { file }), ...(line === undefined ? {} : { line }) },
  });
}
