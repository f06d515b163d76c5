import type { JsonObject } from "../../core/json.ts";
import type { Hold } from "./hold-record.ts";

/** What people are told of a hold: who, from where, which secret by name, and why. Never key material. */
export function holdNotice(hold: Hold): JsonObject {
  const { holdId, id, address, path, purpose, device, bootId, since, rule, reasons, needed } = hold;
  return {
    event: "lease-held",
    hold: holdId,
    host: id,
    address,
    secret: path,
    purpose,
    device,
    bootId,
    rule,
    since: new Date(since).toISOString(),
    reasons: reasons.map(({ code, text }) => ({ code, text })),
    approvals: { count: needed.count, of: needed.of },
  };
}
