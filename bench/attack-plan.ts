/** What an accepted host may flood its master with. */
export type FloodMethod = "return" | "hello" | "volume.report" | "heartbeat";

/** What an attacker's process does. */
export type AttackPlan = {
  /** Of the master's sessions. */
  readonly port: number;
  /** Where jobs were once published. */
  readonly publishPort: number;
} & (
  | {
      readonly kind: "openings";
      /** Openings of accepted hosts, as who listens on the wire has them, in base64. */
      readonly recorded: readonly string[];
      /** Left out: as many as it can. */
      readonly bytesPerSecond?: number;
    }
  | { readonly kind: "idle"; readonly connections: number }
  | { readonly kind: "garbage" }
  | { readonly kind: "multipart" }
  | { readonly kind: "subscriptions" }
  | { readonly kind: "host"; readonly method: FloodMethod }
);
