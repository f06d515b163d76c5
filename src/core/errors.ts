import type { Json } from "./json.ts";

/** What every error of latchkey carries besides its message. */
export interface ErrorFacts {
  /** The error underneath, kept for logs. */
  readonly cause?: unknown;
  /** What the reader can do next: one sentence, lower case, no period. */
  readonly hint?: string;
  /** Facts for programs (paths, lines, exit codes); never key material. */
  readonly facts?: Readonly<Record<string, Json>>;
}

/**
 * An error sorted by who must act on it. `code` is a stable kebab-case word for programs, `exitStatus` the process exit
 * status that a command ends with when nothing catches it.
 */
export abstract class LatchkeyError extends Error {
  abstract readonly exitStatus: number;
  readonly code: string;
  readonly hint: string | undefined;
  readonly facts: Readonly<Record<string, Json>>;

  constructor(code: string, message: string, { cause, hint, facts = {} }: ErrorFacts = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.hint = hint;
    this.facts = facts;
  }
}

/** The operator's own file or argument is wrong; `facts.file` and `facts.line` say where, when known. */
export class ConfigError extends LatchkeyError {
  readonly exitStatus = 2;
}

/** A command, file or device of this machine failed; `facts` hold the masked argv, exit code and what it said. */
export class HostError extends LatchkeyError {
  readonly exitStatus = 3;
}

/** The other side could not be reached, or did not answer in time. */
export class TransportError extends LatchkeyError {
  readonly exitStatus = 4;
}

/** Identity, signature, replay or policy: the other side is not who, or may not have what, it asks. */
export class AuthError extends LatchkeyError {
  readonly exitStatus = 5;
}

/** Bytes that the protocol or a file format does not accept. */
export class ProtocolError extends LatchkeyError {
  readonly exitStatus = 6;
}

/** Something that cannot happen did: ours to mend. */
export class BugError extends LatchkeyError {
  readonly exitStatus = 70;
}

/** The message of anything thrown, for one line of a log or a comment. */
export function errorMessage(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
