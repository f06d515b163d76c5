import type { Verification } from "../core/audit/verify.ts";
import type { JsonObject } from "../core/json.ts";
import type { PolicyTestResult } from "../core/release-api.ts";
import type { Secret } from "../core/secret.ts";
import type { FunctionArguments } from "./arguments.ts";
import type { HostReturn } from "./output.ts";

/** One function to run on this machine, from `latchkey call`. */
export interface CallRequest extends FunctionArguments {
  readonly fun: string;
  readonly kwargs: JsonObject;
  /** Minion configuration file; undefined for the default place. */
  readonly config: string | undefined;
  /** Without a master: states from `fileRoots`, pillar from `pillarRoots`. */
  readonly local: boolean;
  readonly fileRoots: readonly string[];
  readonly pillarRoots: readonly string[];
  /** In place of the configured minion id. */
  readonly id: string | undefined;
}

/** Hears what a call does or waits for, while it runs. */
export interface CallWatch {
  readonly doing: (what: string) => void;
  /** Before anything else is printed. */
  readonly clear: () => void;
}

/** Where a passphrase comes from; whoever asks wipes it. */
export type AskPassphrase = () => Promise<Secret>;

/** From `latchkey master`. */
export interface MasterRequest {
  /** Configuration file; undefined for the default place. */
  readonly config: string | undefined;
  readonly passphrase: AskPassphrase;
  /** In place of the configured `socket_access`. */
  readonly socketAccess: "owner" | "group" | undefined;
}

/** From `latchkey identity protect|unprotect`. */
export interface IdentityRequest {
  readonly act: "protect" | "unprotect";
  /** Master configuration file; undefined for the default place. */
  readonly config: string | undefined;
  /** The new passphrase, or the one to take off. */
  readonly passphrase: AskPassphrase;
}

/**
 * What the command line starts but may not import: the composition root hands these in, and each loads its room only
 * when called. The daemons resolve with an exit status when they have ended.
 */
export interface Rooms {
  readonly master: (request: MasterRequest, signal: AbortSignal) => Promise<number>;
  /** Puts the master's age identity behind a passphrase, or takes it off; resolves with its recipient. */
  readonly identity: (request: IdentityRequest) => Promise<{ readonly file: string; readonly recipient: string }>;
  readonly minion: (config: string | undefined, signal: AbortSignal) => Promise<number>;
  /** Walks the audit chain in the state directory of a master that does not run. */
  readonly verifyAuditStore: (stateDir: string) => Promise<Verification>;
  /** Runs the cases of a file against a policy file. */
  readonly testPolicy: (policyFile: string, casesFile: string) => Promise<readonly PolicyTestResult[]>;
  readonly call: (request: CallRequest, signal: AbortSignal, watch: CallWatch) => Promise<HostReturn>;
}
