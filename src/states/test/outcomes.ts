import type { Outcome } from "../state.ts";

/** What Salt's test states pretend to change. */
export const PRETENDED = { testing: { old: "Unchanged", new: "Something pretended to change" } } as const;

/** What a fired watch on a test state says, in a real run and in test mode alike. */
export async function watchFired(): Promise<Outcome> {
  return { result: true, changes: { watch: "fired" }, comment: "Watch statement fired." };
}
