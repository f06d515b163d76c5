import { AsyncLocalStorage } from "node:async_hooks";

/** Who does something at the master, as its audit record names it. */
export interface Actor {
  /** An operator's name, a minion id, `master`. */
  readonly actor: string;
  /** A network address, or the door that it came through. */
  readonly from: string;
}

/** Whoever may open the control socket: root, and the group of operators where there is one. */
export const ROOT: Actor = { actor: "root", from: "control socket" };

/** The master itself, as its configuration tells it. */
export const MASTER: Actor = { actor: "master", from: "" };

const callers = new AsyncLocalStorage<string>();

/**
 * Runs what a request on the control socket asks for, with the name of the user that its client says it runs for ("" when it
 * says none): all that is recorded as from the control socket has it as `user`. Nobody can prove that name; what is proven is
 * that the socket could be opened.
 */
export function callingAs<T>(user: string, run: () => T): T {
  return callers.run(user, run);
}

/** The name that the client says it runs for; undefined for what the master does by itself. */
export const callingUser = (): string | undefined => callers.getStore();
