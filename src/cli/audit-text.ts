import type { AuditRecord } from "../core/audit/chain.ts";
import { AUDIT_KINDS, type AuditKind } from "../core/audit/kinds.ts";
import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import type { Colour } from "./format/paint.ts";
import { safeJson } from "./format/sanitise.ts";
import { type Cell, timeText } from "./format/table.ts";

const COLOURS: Readonly<Partial<Record<AuditKind, Colour>> & Record<string, Colour | undefined>> = {
  lease: "green",
  "key-accepted": "green",
  "lease-approved": "green",
  "lease-allowed-again": "green",
  hold: "yellow",
  "key-pending": "yellow",
  "secret-shown": "yellow",
  "secret-show-denied": "red",
  deny: "red",
  "lease-denied": "red",
  "lease-revoked": "red",
  "key-denied": "red",
  "key-rejected": "red",
  "key-deleted": "red",
  "audit-failed": "red",
  "operator-added": "yellow",
  "operator-removed": "yellow",
  "policy-changed": "yellow",
  "policy-given-up": "red",
  "expression-ended": "red",
  "heartbeat-refused": "red",
  "volume-command": "yellow",
  "guard-forced": "red",
  "keyslots-erased": "red",
  "erase-final": "red",
  "volume-locked": "red",
  "volume-unlocked": "yellow",
};

const word = (value: Json | undefined) => (typeof value === "string" ? value : "");
const number = (value: Json | undefined) => (typeof value === "number" ? value : 0);
const words = (value: Json | undefined) => (Array.isArray(value) ? value.map((item: Json) => word(item)) : []);

function reasonsText(value: Json | undefined): string {
  const reasons = Array.isArray(value) ? value : [];
  return reasons.map((reason: Json) => (isJsonObject(reason) ? word(reason["text"]) : "")).join("; ");
}

/** Volumes, and what would have stopped an act on each. */
function reasonsAbout(value: Json | undefined): string {
  const volumes = Array.isArray(value) ? value : [];
  const each = volumes.map((one: Json) => (isJsonObject(one) ? `${word(one["volume"])}: ${word(one["why"])}` : ""));
  return each.join("; ");
}

function leaseText(data: JsonObject): string {
  const { path, purpose, device, version, rule, reasons, suppressed } = data;
  const more = number(suppressed);
  return [
    `${word(path)} to ${word(purpose)} ${word(device)}`,
    number(version) > 0 ? `, version ${number(version)}` : "",
    word(rule) === "" ? "" : `, rule "${word(rule)}"`,
    `: ${reasonsText(reasons)}`,
    more > 0 ? ` (and ${more} more like it before)` : "",
  ].join("");
}

function receiptText({ lease, path, outcome, wiped, tookMs }: JsonObject): string {
  const which = `lease ${number(lease)}, ${word(path)}: ${word(outcome)}`;
  const after = `after ${Math.round(number(tookMs))} ms`;
  if (wiped !== true) return `${which}, NOT WIPED ${after}`;
  // its key was wiped long before, as the receipt of its use says
  return outcome === "mounted" ? `${which} ${after}` : `${which}, wiped ${after}`;
}

function rotationText({ path, volume, from, to, slot }: JsonObject): string {
  const versions = number(to) > 0 ? `, version ${number(from)} to ${number(to)}` : "";
  const where = typeof slot === "number" && slot >= 0 ? `, keyslot ${slot}` : "";
  return `${word(path)} of ${word(volume)}${versions}${where}`;
}

function headerText({ volume, version, reason, count }: JsonObject): string {
  const which = number(version) > 0 ? `header ${number(version)}` : `${number(count)} headers`;
  return `${which} of ${word(volume)}${word(reason) === "" ? "" : `, after ${word(reason)}`}`;
}

/** What was asked for at a hold. */
const heldText = ({ secret, purpose, hold }: JsonObject) => `${word(secret)} to ${word(purpose)}, hold ${word(hold)}`;

function policyText(subject: string, { kind, hash, problem }: JsonObject): string {
  if (kind === "policy") return `${subject} is in force, sha256 ${word(hash).slice(0, 16)}`;
  if (kind === "none") return `${subject}: there is no release policy any more`;
  return `NOTHING IS RELEASED: ${word(problem)}`;
}

function rekeyedText({ phase, recipients, rekeyed, already, failed }: JsonObject): string {
  if (phase !== "finished") return `${word(phase)}, to ${words(recipients).join(", ")}`;
  const counts = [
    `${number(rekeyed)} encrypted anew`,
    `${number(already)} were so already`,
    `${number(failed)} could not be`,
  ];
  return `finished: ${counts.join(", ")}`;
}

function identityText({ phase, recipient, older }: JsonObject): string {
  if (phase === "dropped")
    return `the older identity ${words(older).join(", ")} is destroyed, ${word(recipient)} is left`;
  return `${word(recipient)} is made, to take the place of ${words(older).join(", ")}`;
}

/** What a record says, in words; a kind of another version is shown as it is. */
function whatText({ kind, actor, subject, data }: AuditRecord): string {
  const about = subject === "" || subject === actor ? "" : `${subject}: `;
  // narrowed to what this version writes: the compiler knows whether one of those is left out
  const known = AUDIT_KINDS.find((one) => one === kind);
  if (known === undefined) return `${about}${safeJson(data)}`;
  switch (known) {
    case "lease":
    case "hold":
    case "deny":
      return leaseText(data);
    case "receipt":
      return receiptText(data);
    case "header-destroyed":
    case "header-escrowed":
    case "header-released":
      return headerText(data);
    case "header-known": {
      const { cipher, sectorSize } = isJsonObject(data["header"]) ? data["header"] : {};
      return `${word(data["path"])}, LUKS ${word(data["luksUuid"])}: ${word(cipher)}, sectors of ${number(sectorSize)}, from its ${word(data["reason"])}`;
    }
    case "header-accepted":
      return `${subject}/${word(data["volume"])}: the next LUKS header that is opened is taken as it is`;
    case "rotation-begun":
    case "rotation-committed":
    case "rotation-done":
    case "rotation-finished":
    case "rotation-looked-at":
    case "rotation-reverted":
    case "rotation-rolled-back":
      return rotationText(data);
    case "store-backed-up":
      return `to ${word(data["path"])}`;
    case "key-forgotten":
      return `${about}${word(data["path"])} of ${word(data["volume"])}, versions up to ${number(data["through"])}`;
    case "volume-command": {
      const target = isJsonObject(data["target"]) ? word(data["target"]["expr"]) : "";
      const kwargs = isJsonObject(data["kwargs"]) ? data["kwargs"] : {};
      const given = Object.entries(kwargs).map(([key, value]) => `${key}=${safeJson(value)}`);
      const forced = data["force"] === true ? " WITH FORCE" : "";
      return `${word(data["fun"])} on ${target}${given.length > 0 ? ` ${given.join(" ")}` : ""}${forced}`;
    }
    case "campaign-started":
      return `${number(data["hosts"])} hosts, ${word(data["batch"])} at once, at most ${number(data["maxFailures"])} failures`;
    case "campaign-batch":
      return words(data["hosts"]).join(", ");
    case "campaign-ended": {
      const away = number(data["offline"]) + number(data["waiting"]);
      const why = word(data["reason"]) === "" ? "" : `: ${word(data["reason"])}`;
      return `${word(data["state"])}${why}; ${number(data["done"])} done, ${number(data["failed"])} failed, ${away} not reached`;
    }
    case "erase-approved":
    case "erase-asked":
    case "erase-done":
    case "erase-final": {
      const unproven = data["hostGone"] === true ? ", WITHOUT THE HOST'S WORD" : "";
      return `${subject}/${word(data["volume"])}, LUKS ${word(data["luksUuid"])}, erasure ${word(data["erasure"]).slice(0, 8)}${unproven}`;
    }
    case "keyslots-erased": {
      const killed = Array.isArray(data["killed"]) ? data["killed"].map((slot: Json) => number(slot)) : [];
      const which = killed.length === 0 ? "they were dead already" : `keyslots ${killed.join(", ")}`;
      return `${subject}/${word(data["volume"])}, LUKS ${word(data["luksUuid"])}: ${which}`;
    }
    case "guard-forced":
      return `${subject}: ${word(data["what"])} WITH FORCE: ${reasonsAbout(data["volumes"])}`;
    case "volume-locked":
    case "volume-unlocked":
      return `${subject}: ${words(data["secrets"]).join(", ") || "every secret"}`;
    case "key-pending":
    case "key-accepted":
    case "key-rejected":
    case "key-deleted":
    case "key-denied":
      return `${subject} ${word(data["fingerprint"])}`;
    case "pillar-edited":
    case "secret-shown":
    case "secret-show-denied":
    case "secret-set":
    case "secret-imported": {
      const file = word(data["file"]) === "" ? "" : ` (${word(data["file"])})`;
      return `${about}${words(data["secrets"]).join(", ") || "no secret"}${file}`;
    }
    case "identity-replaced":
      return identityText(data);
    case "secrets-rekeyed":
      return rekeyedText(data);
    case "lease-approved":
      return `${about}${heldText(data)}, good until ${timeText(number(data["expires"]))}`;
    case "lease-denied":
      return `${about}${heldText(data)}, for this boot`;
    case "lease-revoked":
    case "lease-allowed-again":
      return `${subject}: ${data["secret"] === null ? "every secret" : word(data["secret"])}`;
    case "reboot-announced":
      return `${words(data["hosts"]).join(", ")} may restart until ${timeText(number(data["until"]))}`;
    case "policy-changed":
      return policyText(subject, data);
    case "expression-ended":
      return `${subject}: ${word(data["problem"])}, in a release rule's expression`;
    case "policy-given-up":
      return `${subject}: back to no release policy, by hand`;
    case "operator-added":
      return `${subject}, with the key ${word(data["publicKey"])}`;
    case "operator-removed":
      return `${subject}; approvals of theirs that were not used are void`;
    case "job-pushed": {
      const [first = "nobody", ...others] = words(data["hosts"]);
      const where = others.length === 0 ? first : `${others.length + 1} hosts`;
      return `${word(data["fun"])} on ${where}, job ${word(data["jid"])}`;
    }
    case "job-started": {
      const count = number(data["hosts"]);
      const where = subject === "" ? `${word(data["target"])}, ${count} hosts` : subject;
      return `${word(data["fun"])} on ${where}, job ${word(data["jid"])}`;
    }
    case "heartbeat-refused": {
      const more = number(data["suppressed"]);
      return `session ended: ${word(data["reason"])}${more > 0 ? ` (and ${more} more like it before)` : ""}`;
    }
    case "master-started":
      return `version ${word(data["version"])}, pid ${number(data["pid"])}`;
    case "master-stopped":
      return `pid ${number(data["pid"])}`;
    case "audit-failed":
      return `${number(data["lost"])} records could not be written since ${timeText(number(data["since"]))}: ${word(data["reason"])}`;
    default:
      return known satisfies never;
  }
}

/** Who did it; whom their client named when that is another: the master cannot prove that name. */
function whoText(actor: string, data: JsonObject): string {
  const user = word(data["user"]);
  return user === "" || user === actor ? actor : `${actor} (${user})`;
}

/** Headings of `auditCells`. */
export const AUDIT_HEADINGS = ["RECORD", "TIME", "KIND", "WHO", "FROM", "WHAT"];

/** A record as a row of `audit log`. */
export function auditCells(record: AuditRecord): readonly Cell[] {
  const { seq, at, kind, actor, from } = record;
  const colour = kind === "receipt" && record.data["wiped"] !== true ? "red" : COLOURS[kind];
  return [
    { text: String(seq).padStart(6) },
    { text: timeText(at) },
    colour === undefined ? { text: kind } : { text: kind, colour },
    { text: whoText(actor, record.data) },
    { text: from || "-" },
    { text: whatText(record) },
  ];
}
