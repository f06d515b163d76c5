import { recoveryTicket } from "../../core/recovery-ticket.ts";
import type { Passphrases } from "../volumes/passphrases.ts";
import { denied, type LeaseDecision, type LeaseFacts } from "./decision.ts";
import type { ResolvedSecret } from "./leases-options.ts";

const ALLOWED: LeaseDecision = {
  verdict: "allow",
  reasons: [{ code: "recovery", text: "an operator handed this passphrase in for this minion, for one use" }],
};

/**
 * The word on a recovery passphrase: only for the minion that it was handed in for, only to be added. No policy is asked: it
 * is about the key that opens the volume, which is leased as well.
 */
export function decidePassphrase(
  { id, path, purpose }: LeaseFacts,
  passphrases: Pick<Passphrases, "has"> | undefined,
): LeaseDecision {
  if (purpose === "recovery" && passphrases?.has(id, recoveryTicket(path) ?? "") === true) return ALLOWED;
  return denied("no-passphrase", "no passphrase is held for this minion under this ticket");
}

/** Takes the passphrase out of the master's memory; undefined when it is not there any more. */
export function takePassphrase(
  id: string,
  ticket: string,
  passphrases: Pick<Passphrases, "take"> | undefined,
): ResolvedSecret | undefined {
  const secret = passphrases?.take(id, ticket);
  return secret && { secret, version: 1, generated: false };
}
