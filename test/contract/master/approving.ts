import { randomBytes } from "node:crypto";
import { systemClock } from "../../../src/core/clock.ts";
import { type SigningKey, signingKeyFromSeed } from "../../../src/core/crypto/ed25519.ts";
import {
  type ApprovalStatement,
  type OperatorStatement,
  statementBytes,
} from "../../../src/core/operator-statement.ts";
import type { HoldEntry, HoldList } from "../../../src/core/release-api.ts";
import type { Rig } from "./rig.ts";

export const holdList = async ({ client }: Rig) => client.request<HoldList>("GET", "/v1/holds");

/** The lease of a host that waits; waits for it itself. */
export async function heldNow(one: Rig, id = "web1"): Promise<HoldEntry> {
  for (const end = performance.now() + 60_000; performance.now() < end; await systemClock.sleep(10)) {
    const hold = (await holdList(one)).holds.find((entry) => entry.id === id);
    if (hold) return hold;
  }
  throw new Error("nothing is held");
}

/** Registers a new key under this name. */
export async function addOperator({ client }: Rig, name: string): Promise<SigningKey> {
  const signing = signingKeyFromSeed(randomBytes(32));
  const publicKey = Buffer.from(signing.publicKey).toString("base64");
  await client.request("POST", "/v1/operators", { action: "add", name, publicKey });
  return signing;
}

/** What an operator says yes to. */
export function statementOf(one: Rig, hold: HoldEntry, operator: string, more: Partial<ApprovalStatement> = {}) {
  const statement: ApprovalStatement = {
    what: "approve",
    master: one.master.fingerprint,
    hold: hold.holdId,
    minion: hold.id,
    secret: hold.path,
    purpose: hold.purpose,
    device: hold.device,
    address: hold.address,
    bootId: hold.bootId,
    reasons: hold.reasonsHash,
    operator,
    expires: Date.now() + 600_000,
  };
  return { ...statement, ...more };
}

export const sign = <S extends OperatorStatement>(statement: S, by: SigningKey) => ({
  statement,
  signature: by.sign(statementBytes(statement)).toString("hex"),
});

export const approve = async (
  one: Rig,
  body: { readonly statement: ApprovalStatement; readonly signature?: string },
): Promise<HoldEntry> => one.client.request<HoldEntry>("POST", "/v1/holds/approve", body);

/** How the master refuses a statement. */
export const REFUSED = { code: "bad-approval" };
