import type { PillarShow } from "../core/control-api.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { documentText, type OutputFormat } from "./output.ts";

/** `pillar show <host>`: the compiled pillar; secrets are references, the bytes never leave the master for this. */
export async function showPillar(id: string, format: OutputFormat, context: Context): Promise<number> {
  const { pillar, unknown } = await context.client.request<PillarShow>("GET", `/v1/pillar/${encodeURIComponent(id)}`);
  if (unknown) context.terminal.warn(`no minion key of that id: a host named ${sanitiseLine(id)} would get this\n`);
  const value = format === "text" ? { [id]: pillar } : pillar;
  context.terminal.print(documentText(value, format, context.paint));
  return 0;
}
