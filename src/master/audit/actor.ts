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
