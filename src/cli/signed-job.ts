import { randomBytes } from "node:crypto";
import type { JobRequest } from "../core/control-api.ts";
import { argumentsDigest, type JobStatement } from "../core/operator-statement.ts";
import type { HoldList } from "../core/release-api.ts";
import type { Context } from "./context.ts";
import { openSigner, type Sign, type Signer } from "./operator-signature.ts";

/** How long a signed statement may take to reach the master. */
export const EXPIRES_MS = 300_000;

/** What makes a signed statement one that the master takes once. */
export const newNonce = (): string => randomBytes(16).toString("hex");

/** The request with the operator's word that it is theirs; `now` by the master's clock. */
export function withPusher(
  request: JobRequest,
  by: { readonly operator: string; readonly sign: Sign; readonly master: string; readonly now: number },
): JobRequest {
  const statement: JobStatement = {
    what: "job",
    master: by.master,
    targetKind: request.target.kind,
    target: request.target.expr,
    fun: request.fun,
    args: argumentsDigest(request.args, request.kwargs),
    operator: by.operator,
    expires: by.now + EXPIRES_MS,
    nonce: newNonce(),
  };
  const signature = by.sign(statement);
  return signature === undefined ? request : { ...request, pushed: { statement, signature } };
}

/** Signs a request as the operator who is named, if one is; asks for the passphrase of their key. */
export async function signJob(request: JobRequest, signer: Signer, context: Context): Promise<JobRequest> {
  if (signer.as === undefined) return request;
  const sign = await openSigner(signer, context);
  const { master, now } = await context.client.request<HoldList>("GET", "/v1/holds");
  return withPusher(request, { operator: signer.as, sign, master, now });
}
