import { canonicalJson } from "./canonical-json.ts";
import { verifySignature } from "./crypto/ed25519.ts";
import { sha256 } from "./crypto/hash.ts";
import type { Json, JsonObject } from "./json.ts";

/** Names of operators: never an option, never a path. `root` and `master` are the machine's own. */
export const OPERATOR_NAME = /^(?!root$|master$)[a-z][a-z0-9._-]{0,31}$/u;

/** What an operator says yes to: everything that was shown, so that nothing else can be opened with it. */
export interface ApprovalStatement {
  readonly what: "approve";
  /** Fingerprint of the master whose hold it is. */
  readonly master: string;
  readonly hold: string;
  readonly minion: string;
  readonly secret: string;
  readonly purpose: string;
  readonly device: string;
  readonly address: string;
  readonly bootId: string;
  /** SHA-256, hex, over the rule and the codes of the reasons. */
  readonly reasons: string;
  readonly operator: string;
  /** Milliseconds since the epoch, after which the approval is void. */
  readonly expires: number;
}

/** An operator's word that hosts are about to restart. */
export interface RebootStatement {
  readonly what: "reboot";
  readonly master: string;
  readonly targetKind: string;
  readonly target: string;
  readonly windowMs: number;
  readonly operator: string;
  readonly expires: number;
  /** See `JobStatement`. */
  readonly nonce: string;
}

/** An operator's word that it is they who push this job, once. */
export interface JobStatement {
  readonly what: "job";
  readonly master: string;
  readonly targetKind: string;
  readonly target: string;
  readonly fun: string;
  /** See `argumentsDigest`. */
  readonly args: string;
  readonly operator: string;
  readonly expires: number;
  /** 32 hex digits that no other statement has: the master takes each once. */
  readonly nonce: string;
}

/** An operator's yes to destroying what could bring a volume back: this erasure of this volume alone. */
export interface EraseStatement {
  readonly what: "erase";
  readonly master: string;
  readonly erasure: string;
  readonly minion: string;
  readonly volume: string;
  readonly luksUuid: string;
  readonly operator: string;
  readonly expires: number;
}

/** An operator's word that it is they who ask for a volume to be erased for good, once. */
export interface EraseAskStatement {
  readonly what: "ask-erase";
  readonly master: string;
  /** 32 hex digits that no other statement has: the name of the erasure. */
  readonly erasure: string;
  readonly minion: string;
  readonly volume: string;
  readonly operator: string;
  readonly expires: number;
}

/** Everything that operators sign. */
export type OperatorStatement = ApprovalStatement | EraseAskStatement | EraseStatement | JobStatement | RebootStatement;

const TAG = "latchkey operator statement v1\0";

/** SHA-256, hex, over a job's arguments as canonical JSON: the list, then the named ones. */
export function argumentsDigest(args: readonly Json[], kwargs: JsonObject): string {
  return sha256(Buffer.from(canonicalJson([[...args], kwargs]))).toString("hex");
}

/** The bytes that an operator's key signs: a tag, then the statement as canonical JSON. */
export function statementBytes(statement: OperatorStatement): Buffer {
  return Buffer.from(TAG + canonicalJson({ ...statement }), "utf8");
}

/** Whether the holder of this Ed25519 key (32 bytes) signed exactly this statement (64 bytes, hex). Never throws. */
export function isStatementSigned(statement: OperatorStatement, publicKey: Uint8Array, signature: string): boolean {
  if (!/^[0-9a-f]{128}$/u.test(signature)) return false;
  return verifySignature(publicKey, statementBytes(statement), Buffer.from(signature, "hex"));
}
