import { ConfigError } from "../core/errors.ts";
import type { ApprovalStatement } from "../core/operator-statement.ts";
import type {
  ApprovalRequest,
  DenialRequest,
  HoldEntry,
  HoldList,
  LockEntry,
  RevocationEntry,
  RevocationAnswer,
  RevocationRequest,
} from "../core/release-api.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { ageText, tableText, timeText } from "./format/table.ts";
import { openSigner, type Signer } from "./operator-signature.ts";
import { documentText, type OutputFormat } from "./output.ts";

const fetchHolds = async ({ client }: Context) => client.request<HoldList>("GET", "/v1/holds");

/** Approvals are counted on a line of their own, as they come. */
const isNoTally = ({ code }: HoldEntry["reasons"][number]) => code !== "approvals";
const countText = ({ approvals, needed }: HoldEntry) => `${approvals.length} of ${needed.count}`;

function holdRow(hold: HoldEntry, now: number) {
  const state = hold.denied
    ? ({ text: `denied by ${hold.denied.by}`, colour: "red" } as const)
    : ({ text: countText(hold), colour: "yellow" } as const);
  const codes = hold.reasons.filter(isNoTally).map(({ code }) => code);
  return [
    { text: hold.holdId },
    { text: hold.id },
    { text: hold.path },
    { text: hold.purpose },
    { text: hold.address || "-" },
    { text: ageText(now - hold.since) },
    state,
    { text: codes.join(", ") || `rule ${hold.rule}` },
  ];
}

const revocationRow = ({ id, path, by, at }: RevocationEntry) => [
  { text: id },
  { text: path ?? "every secret" },
  { text: by },
  { text: timeText(at) },
];

const lockRow = ({ id, volume, path, by, at }: LockEntry) => [
  { text: id },
  { text: volume || "every volume" },
  { text: path ?? "every secret" },
  { text: by },
  { text: timeText(at) },
];

/** `lease list --held`: what waits for people, what nobody can approve since it is locked, and what was taken away. */
export async function listHolds(format: OutputFormat, context: Context): Promise<number> {
  const { terminal, paint } = context;
  const { holds, revocations, locks = [], now } = await fetchHolds(context);
  if (format !== "text") {
    const plain = {
      holds: holds.map((hold) => asDocument(hold)),
      revocations: revocations.map((one) => ({ ...one })),
      locks: locks.map((one) => ({ ...one })),
    };
    terminal.print(documentText(plain, format, paint));
    return 0;
  }
  if (holds.length === 0) terminal.print("nothing is held\n");
  else {
    const headings = ["HOLD", "MINION", "SECRET", "PURPOSE", "FROM", "SINCE", "APPROVED", "BECAUSE"];
    terminal.print(
      tableText(
        headings,
        holds.map((hold) => holdRow(hold, now)),
        paint,
      ),
    );
  }
  if (locks.length > 0) {
    terminal.print("\n");
    terminal.print(tableText(["LOCKED", "VOLUME", "SECRET", "BY", "SINCE"], locks.map(lockRow), paint));
    terminal.warn("nobody can approve what is locked: latchkey volume unlock\n");
  }
  if (revocations.length > 0) {
    terminal.print("\n");
    terminal.print(tableText(["REVOKED", "SECRET", "BY", "SINCE"], revocations.map(revocationRow), paint));
  }
  return 0;
}

const asDocument = (hold: HoldEntry) => ({
  ...hold,
  needed: { ...hold.needed, of: hold.needed.of === null ? null : [...hold.needed.of] },
  reasons: hold.reasons.map((reason) => ({ ...reason })),
  approvals: hold.approvals.map((approval) => ({ ...approval })),
  askers: [...hold.askers],
  denied: hold.denied && { ...hold.denied },
});

function findHold({ holds }: HoldList, holdId: string): HoldEntry {
  const matching = holds.filter((hold) => hold.holdId.startsWith(holdId));
  const [hold] = matching;
  if (hold && matching.length === 1 && holdId.length >= 4) return hold;
  throw new ConfigError("no-such-hold", `cannot find hold "${holdId}"`, {
    hint: "it may have been opened, denied or changed: see `latchkey lease list --held`",
  });
}

function holdText(hold: HoldEntry, { now }: HoldList): string {
  const { of } = hold.needed;
  const lines: readonly (readonly [string, string])[] = [
    ["hold", hold.holdId],
    ["minion", hold.id],
    ["secret", hold.path],
    ["purpose", hold.purpose],
    ["device", `${hold.device} (the host's word)`],
    ["from", hold.address || "unknown"],
    ["boot", `${hold.bootId} (the host's word)`],
    ["rule", hold.rule || "-"],
    ["since", `${timeText(hold.since)}, ${ageText(now - hold.since)} ago; last asked ${timeText(hold.askedAt)}`],
    ["asked by", hold.askers.join(", ") || "nobody that is known"],
    ...hold.reasons.filter(isNoTally).map(({ code, text }) => ["because", `${text} [${code}]`] as const),
    ["approved", `${countText(hold)}${of === null ? "" : `, by ${of.join(", ")}`}`],
    ...hold.approvals.map(
      ({ operator, at, expires }) => ["", `${operator}, ${timeText(at)}, good until ${timeText(expires)}`] as const,
    ),
    ...(hold.denied ? [["denied", `by ${hold.denied.by}, ${timeText(hold.denied.at)}`] as const] : []),
  ];
  return lines.map(([label, text]) => `${(label && `${label}:`).padEnd(10)}${sanitiseLine(text)}\n`).join("");
}

/** `lease show <hold>`. */
export async function showHold(holdId: string, format: OutputFormat, context: Context): Promise<number> {
  const list = await fetchHolds(context);
  const hold = findHold(list, holdId);
  const isText = format === "text";
  context.terminal.print(isText ? holdText(hold, list) : documentText(asDocument(hold), format, context.paint));
  return 0;
}

/**
 * `lease approve <hold>`: shows what it is about, and says yes to exactly that. With operators registered the yes is
 * signed by one of them. Status 1 when told no.
 */
export async function approveHold(
  holdId: string,
  options: Signer & { readonly yes: boolean },
  context: Context,
): Promise<number> {
  const { terminal, signal } = context;
  const list = await fetchHolds(context);
  const hold = findHold(list, holdId);
  terminal.warn(holdText(hold, list));
  if (list.operators > 0 && options.as === undefined) {
    throw new ConfigError("not-signed", "cannot approve: operators are registered, so one of them must sign", {
      hint: "add --operator NAME and --key FILE",
    });
  }
  if (!options.yes) {
    if (!terminal.interactive) {
      throw new ConfigError("not-confirmed", "cannot ask whether to approve: there is no terminal", {
        hint: "add --yes to act without a question",
      });
    }
    if (!/^y(?:es)?$/iu.test(await terminal.ask("release this key? [y/N] ", signal))) {
      terminal.warn("nothing approved\n");
      return 1;
    }
  }
  const statement: ApprovalStatement = {
    what: "approve",
    master: list.master,
    hold: hold.holdId,
    minion: hold.id,
    secret: hold.path,
    purpose: hold.purpose,
    device: hold.device,
    address: hold.address,
    bootId: hold.bootId,
    reasons: hold.reasonsHash,
    operator: options.as ?? "root",
    // half a minute for the clocks and for the passphrase to be typed
    expires: list.now + list.approvalMs - Math.min(30_000, list.approvalMs / 2),
  };
  const signature = (await openSigner(options, context))(statement);
  const body: ApprovalRequest = { statement, ...(signature === undefined ? {} : { signature }) };
  const after = await context.client.request<HoldEntry>("POST", "/v1/holds/approve", body);
  const enough = after.approvals.length >= after.needed.count;
  terminal.print(
    `approved ${hold.holdId} for ${sanitiseLine(hold.id)} (${countText(after)})${enough ? "" : ": more are needed"}\n`,
  );
  return 0;
}

/** `lease deny <hold>`. */
export async function denyHold(holdId: string, context: Context): Promise<number> {
  const hold = findHold(await fetchHolds(context), holdId);
  const body: DenialRequest = { hold: hold.holdId };
  await context.client.request("POST", "/v1/holds/deny", body);
  const id = sanitiseLine(hold.id);
  context.terminal.print(`denied ${hold.holdId}: ${id} does not get it in this boot\n`);
  return 0;
}

const countOf = (secrets: number) => `${secrets} ${secrets === 1 ? "secret" : "secrets"}`;

/** `lease revoke|allow <minion> [secret]`. Status 1 for a revocation of what the master does not know; it stands all the same. */
export async function changeRevocation(request: RevocationRequest, context: Context): Promise<number> {
  const { lifted, denials, about } = await context.client.request<RevocationAnswer>("POST", "/v1/revocations", request);
  const what = request.path === null ? "every secret" : `"${sanitiseLine(request.path)}"`;
  const id = sanitiseLine(request.id);
  if (request.action === "revoke") {
    context.terminal.print(`revoked ${what} of ${id}: its sessions are cut\n`);
    if (about === "host-unknown") context.terminal.warn(`no accepted minion is named "${id}": is it mistyped?\n`);
    if (about === "secret-unknown")
      context.terminal.warn(`the pillar of ${id} does not name ${what}: is it mistyped?\n`);
    return about === "host-unknown" || about === "secret-unknown" ? 1 : 0;
  }
  const of = request.path === null ? id : `${what} of ${id}`;
  if (lifted > 0) context.terminal.print(`allowed ${what} of ${id} again\n`);
  if (denials > 0) context.terminal.print(`allowed ${id} to ask again for ${countOf(denials)} it was denied\n`);
  if (lifted + denials === 0) context.terminal.print(`nothing of ${of} was revoked or denied\n`);
  return 0;
}
