/** What stands before a ticket where a secret's name is expected. Reserved: no pillar's value at such a path is released. */
export const RECOVERY_PREFIX = "volume-recovery:";
/** A ticket: names one passphrase that the master holds in memory for one minion, once. It is no secret. */
export const RECOVERY_TICKET = /^[0-9a-f]{32}$/u;

/** The ticket in a secret's name; undefined when it names something else. */
export function recoveryTicket(path: string): string | undefined {
  const ticket = path.startsWith(RECOVERY_PREFIX) ? path.slice(RECOVERY_PREFIX.length) : "";
  return RECOVERY_TICKET.test(ticket) ? ticket : undefined;
}
