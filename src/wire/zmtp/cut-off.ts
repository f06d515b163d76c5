import type { Fault } from "./frame-decoder.ts";

/** Why the listener ended a connection, or never let it in. */
export type CutOff =
  | Fault
  /** Greeting, first message, session or the rest of a message did not come in time. */
  | "too-slow"
  /** It does not take what waits for it. */
  | "not-reading"
  /** No room: too many connections without a session, of its network or in all, or too much held for its network. */
  | "turned-away";
