import { canonicalJson } from "../../core/canonical-json.ts";
import { sha256 } from "../../core/crypto/hash.ts";
import { z } from "../../core/schema.ts";
import { type Reason, TALLY_CODES } from "../policy/facts.ts";

const approvalSchema = z.object({
  operator: z.string(),
  /** See `Operators.keyId`. */
  keyId: z.string(),
  at: z.number(),
  expires: z.number(),
});

/** A lease that waits for people. */
export const holdSchema = z.object({
  holdId: z.string(),
  id: z.string(),
  path: z.string(),
  purpose: z.string(),
  device: z.string(),
  luksUuid: z.string(),
  bootId: z.string(),
  address: z.string(),
  rule: z.string(),
  reasons: z.array(z.object({ code: z.string(), text: z.string() })),
  reasonsHash: z.string(),
  since: z.number(),
  askedAt: z.number(),
  needed: z.object({ count: z.number(), of: z.array(z.string()).nullable() }),
  approvals: z.array(approvalSchema),
  /** Who asked for what led here, and cannot approve it. */
  askers: z.array(z.string()),
  denied: z.object({ by: z.string(), at: z.number() }).nullable(),
});
export type Hold = z.infer<typeof holdSchema>;

/** Where holds live in the store. */
export const HOLDS = "release/hold/";

/** What a hold is found by when its host asks again. */
export type HoldSubject = Pick<Hold, "id" | "path" | "purpose" | "device">;

export function holdKey({ id, path, purpose, device }: HoldSubject): string {
  return `${HOLDS}${id}/${sha256(Buffer.from(canonicalJson([path, purpose, device])))
    .toString("hex")
    .slice(0, 40)}`;
}

/**
 * What a hold is about, in one hash: the rule and its reasons, apart from the count of approvals and from figures that
 * grow while it waits.
 */
export function hashReasons(rule: string | undefined, reasons: readonly Reason[]): string {
  const codes = reasons.map(({ code }) => code).filter((code) => !TALLY_CODES.has(code));
  return sha256(Buffer.from(canonicalJson([rule ?? "", codes.toSorted()]))).toString("hex");
}
