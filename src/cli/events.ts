import type { ControlEvent } from "../core/control-api.ts";
import type { Context } from "./context.ts";
import { safeJson, sanitiseLine } from "./format/sanitise.ts";
import { timeText } from "./format/table.ts";

/** `events`: prints what happens at the master, a line an event, until interrupted. */
export async function followEvents(asJson: boolean, context: Context): Promise<number> {
  for await (const event of context.client.stream<ControlEvent>("GET", "/v1/events")) {
    const line = asJson
      ? safeJson(event)
      : `${timeText(event.at)}  ${context.paint("cyan", sanitiseLine(event.tag))}  ${safeJson(event.data)}`;
    context.terminal.print(`${line}\n`);
  }
  return 0;
}
