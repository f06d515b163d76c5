import { randomBytes } from "node:crypto";
import { ConfigError } from "../core/errors.ts";
import type { EraseAskStatement, EraseStatement } from "../core/operator-statement.ts";
import type { HoldList } from "../core/release-api.ts";
import type { ErasureEntry, ErasureList } from "../core/volume-api.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { openSigner, type Signer } from "./operator-signature.ts";
import { RemoteError } from "./remote-error.ts";
import { signerOf } from "./sign-options.ts";
import { EXPIRES_MS } from "./signed-job.ts";
import { pushVolumeJob, volumeJob, type VolumeJobOptions } from "./volume-job.ts";
import { oneVolume } from "./volume-recovery.ts";

/** What `erase --final` was told. */
export interface FinalEraseOptions extends VolumeJobOptions {
  readonly force?: true;
  readonly yesErase?: string;
  /** Host or disk are gone for good: nothing is asked of the host. */
  readonly hostGone?: true;
}

const URL = "/v1/erasures";

/**
 * `volume erase <minion>/<volume> --final`: asks for it, signed by `--operator`; once enough operators have approved, asks for the name typed out, kills
 * the keyslots on the host, and has the master destroy the headers in escrow and every version of the key, which it does on the
 * host's signed word alone. Status 1 while approvals are missing, or when another name was typed.
 */
export async function eraseForGood(target: string, options: FinalEraseOptions, context: Context): Promise<number> {
  const { client, terminal, signal } = context;
  const { id, volume } = oneVolume(target);
  const name = sanitiseLine(`${id}/${volume}`);
  const asked = await askFor({ id, volume }, signerOf(options), context);
  const { approvals, needed } = asked;
  if (asked.state === "asked" && approvals.length < needed) {
    const by = approvals.length === 0 ? "" : `, by ${approvals.map(sanitiseLine).join(", ")}`;
    terminal.print(`erasing ${name} for good waits for approval: ${approvals.length} of ${needed}${by}\n`);
    terminal.warn(`operators approve it with: latchkey volume erase-approve ${name} --operator NAME\n`);
    return 1;
  }
  if (options.yesErase === undefined && !terminal.interactive) {
    throw new ConfigError("not-confirmed", "cannot ask for the volume's name: there is no terminal", {
      hint: `add --yes-erase ${volume}`,
    });
  }
  terminal.warn(`nothing brings ${name} back after this: keyslots, headers in escrow and every stored key go\n`);
  const typed = options.yesErase ?? (await terminal.ask("type the volume's name to erase it for good: ", signal));
  if (typed.trim() !== volume) {
    terminal.warn("nothing was erased\n");
    return 1;
  }
  if (options.hostGone) {
    terminal.warn(`nothing proves that the keyslots of ${name} are erased: that goes into the audit log\n`);
  } else {
    const given = { ...options, list: true } as const;
    const kwargs = options.force ? { force: true } : {};
    const status = await pushVolumeJob(volumeJob(`${id}/${volume}`, "volume.erase", kwargs, given), given, context);
    if (status !== 0) {
      terminal.warn("the host did not erase its keyslots; the keys are kept. --host-gone when it is gone for good\n");
      return status;
    }
  }
  const body = { id, volume, typed: typed.trim(), ...(options.hostGone ? { hostGone: true } : {}) };
  await client.request<ErasureEntry>("POST", `${URL}/execute`, body);
  terminal.print(`erased ${name} for good: no header and no key of it is left at the master\n`);
  return 0;
}

/** The erasure that waits, or a new one that the operator asks for. */
async function askFor(
  place: { readonly id: string; readonly volume: string },
  signer: Signer,
  context: Context,
): Promise<ErasureEntry> {
  const { client } = context;
  try {
    return await client.request<ErasureEntry>("POST", URL, place);
  } catch (error) {
    if (signer.as === undefined || !(error instanceof RemoteError) || error.code !== "not-signed") throw error;
  }
  const sign = await openSigner(signer, context);
  const { master, now } = await client.request<HoldList>("GET", "/v1/holds");
  const statement: EraseAskStatement = {
    what: "ask-erase",
    master,
    erasure: randomBytes(16).toString("hex"),
    minion: place.id,
    volume: place.volume,
    operator: signer.as,
    expires: now + EXPIRES_MS,
  };
  const signature = sign(statement);
  return client.request<ErasureEntry>("POST", URL, { ...place, asked: { statement, signature } });
}

/** `volume erase-approve <minion>/<volume>`: an operator's signed yes to exactly the erasure that waits. */
export async function approveErasure(target: string, signer: Signer, context: Context): Promise<number> {
  const { client, terminal } = context;
  const { id, volume } = oneVolume(target);
  const { erasures } = await client.request<ErasureList>("GET", URL);
  const found = erasures.find((one) => one.id === id && one.volume === volume && one.state === "asked");
  if (found === undefined) throw new ConfigError("no-erasure", `cannot approve: no erasure of "${target}" waits`);
  if (signer.as === undefined) {
    throw new ConfigError("not-signed", "cannot approve: an operator must sign", { hint: "add --operator NAME" });
  }
  const name = sanitiseLine(`${id}/${volume}`);
  terminal.warn(`erase ${name} for good, LUKS ${sanitiseLine(found.luksUuid)}, asked by ${sanitiseLine(found.by)}\n`);
  const statement: EraseStatement = {
    what: "erase",
    master: found.master,
    erasure: found.erasure,
    minion: id,
    volume,
    luksUuid: found.luksUuid,
    operator: signer.as,
    // half a minute for the clocks and for the passphrase to be typed
    expires: found.now + found.approvalMs - Math.min(30_000, found.approvalMs / 2),
  };
  const signature = (await openSigner(signer, context))(statement);
  const after = await client.request<ErasureEntry>("POST", `${URL}/approve`, { statement, signature });
  terminal.print(`approved erasing ${name} for good (${after.approvals.length} of ${after.needed})\n`);
  return 0;
}
