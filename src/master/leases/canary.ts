import { randomBytes } from "node:crypto";
import { CANARY_BYTES } from "../../core/canary.ts";
import { Secret } from "../../core/secret.ts";
import type { LeaseDecision } from "./decision.ts";
import type { ResolvedSecret } from "./leases-options.ts";

/** No policy is asked about a canary, and none counts it: it must use up no boot, budget or announced reboot. */
export const CANARY_DECISION: LeaseDecision = {
  verdict: "allow",
  reasons: [{ code: "canary", text: "a canary made for this lease: it opens nothing" }],
};

/** A new canary: released as a key is, recorded as one, and known to nobody afterwards. */
export function makeCanary(): ResolvedSecret {
  return { secret: Secret.take(randomBytes(CANARY_BYTES)), version: 1, generated: true };
}
