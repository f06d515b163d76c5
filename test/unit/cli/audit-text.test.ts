import { expect, test } from "vitest";
import { AUDIT_KINDS, type AuditKind } from "../../../src/core/audit/kinds.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { auditCells } from "../../../src/cli/audit-text.ts";
import { timeText } from "../../../src/cli/format/table.ts";

const AT = 1_795_366_917_166;
const lease = {
  path: "disk:password",
  purpose: "open",
  device: "/dev/vg0/data",
  version: 2,
  rule: "web",
  reasons: [{ code: "rule", text: 'rule "web" says allow' }],
  suppressed: 0,
};
const held = { secret: "disk:password", purpose: "open", hold: "4f2a", expires: AT };
const key = { fingerprint: "SHA256:x", before: "pending", address: "192.0.2.1" };
const rotation = { path: "disk:password", volume: "data", from: 1, to: 2, slot: 3 };
const secrets = { file: "hosts/web1.yaml", secrets: ["disk:password"] };

/** What each kind says, with data as its writer gives it. */
const SAID: Readonly<Record<AuditKind, readonly [JsonObject, string]>> = {
  "audit-failed": [
    { since: AT, reason: "disk full", lost: 3 },
    `3 records could not be written since ${timeText(AT)}: disk full`,
  ],
  "campaign-batch": [{ campaign: "1", hosts: ["web1", "web2"] }, "web1, web2"],
  "campaign-ended": [
    {
      campaign: "1",
      state: "stopped",
      reason: "2 hosts failed",
      done: 3,
      failed: 2,
      offline: 1,
      waiting: 4,
      running: 0,
      skipped: 0,
    },
    "stopped: 2 hosts failed; 3 done, 2 failed, 5 not reached",
  ],
  "campaign-started": [
    { campaign: "1", hosts: 10, batch: "10%", maxFailures: 2, deadlineMs: 1000, keepOld: false, volumes: [] },
    "10 hosts, 10% at once, at most 2 failures",
  ],
  deny: [{ ...lease, version: 0, suppressed: 4 }, 'rule "web" says allow (and 4 more like it before)'],
  "heartbeat-refused": [{ reason: "its counter was there before", suppressed: 0 }, "session ended: its counter was"],
  hold: [{ ...lease, version: 0 }, 'disk:password to open /dev/vg0/data, rule "web"'],
  "job-pushed": [{ jid: "2026", fun: "state.highstate", hosts: ["web1"] }, "state.highstate on web1, job 2026"],
  "job-started": [{ jid: "2026", fun: "cmd.run", target: "web*", hosts: 1 }, "cmd.run on web1, job 2026"],
  "key-accepted": [key, "web1 SHA256:x"],
  "key-deleted": [key, "web1 SHA256:x"],
  "key-denied": [key, "web1 SHA256:x"],
  "key-forgotten": [{ volume: "data", path: "disk:password", through: 2 }, "disk:password of data, versions up to 2"],
  "key-pending": [key, "web1 SHA256:x"],
  "key-rejected": [key, "web1 SHA256:x"],
  "keyslots-erased": [{ volume: "data", luksUuid: "0f6e", killed: [0, 2] }, "web1/data, LUKS 0f6e: keyslots 0, 2"],
  lease: [lease, "disk:password to open /dev/vg0/data, version 2"],
  "lease-allowed-again": [{ secret: null }, "web1: every secret"],
  "lease-approved": [held, `web1: disk:password to open, hold 4f2a, good until ${timeText(AT)}`],
  "erase-approved": [
    { volume: "data", luksUuid: "0f6e", erasure: "ab12cd34ef" },
    "web1/data, LUKS 0f6e, erasure ab12cd34",
  ],
  "erase-asked": [
    { volume: "data", luksUuid: "0f6e", erasure: "ab12cd34ef" },
    "web1/data, LUKS 0f6e, erasure ab12cd34",
  ],
  "erase-done": [{ volume: "data", luksUuid: "0f6e", erasure: "ab12cd34ef" }, "web1/data, LUKS 0f6e, erasure ab12cd34"],
  "erase-final": [
    { volume: "data", luksUuid: "0f6e", erasure: "ab12cd34ef", hostGone: true },
    "web1/data, LUKS 0f6e, erasure ab12cd34, WITHOUT THE HOST'S WORD",
  ],
  "guard-forced": [
    { what: "pillar edit", volumes: [{ volume: "data", why: "its key would go" }] },
    "web1: pillar edit WITH FORCE: data: its key would go",
  ],
  "lease-denied": [held, "web1: disk:password to open, hold 4f2a, for this boot"],
  "lease-revoked": [{ secret: "disk:password" }, "web1: disk:password"],
  "master-started": [{ version: "1", fingerprint: "SHA256:x", pid: 7 }, "version 1, pid 7"],
  "master-stopped": [{ pid: 7 }, "pid 7"],
  "operator-added": [{ publicKey: "AAAA" }, "web1, with the key AAAA"],
  "operator-removed": [{}, "approvals of theirs that were not used are void"],
  "pillar-edited": [secrets, "web1: disk:password (hosts/web1.yaml)"],
  "policy-changed": [{ kind: "policy", hash: "ab".repeat(32), problem: "" }, "is in force, sha256 abababababababab"],
  "expression-ended": [
    { problem: "it took longer than 250 ms", expressions: ["instance.grains.all(k, true)"] },
    "took longer than 250 ms, in a release rule's expression",
  ],
  "policy-given-up": [{}, "back to no release policy"],
  "reboot-announced": [{ hosts: ["web1", "web2"], windowMs: 1, until: AT }, "web1, web2 may restart until"],
  receipt: [{ lease: 7, path: "disk:password", outcome: "used", wiped: true, tookMs: 12.4 }, "used, wiped after 12 ms"],
  "identity-replaced": [
    { phase: "made", recipient: "age1new", older: ["age1old"] },
    "age1new is made, to take the place of age1old",
  ],
  "rotation-begun": [rotation, "disk:password of data, version 1 to 2, keyslot 3"],
  "rotation-committed": [rotation, "disk:password of data, version 1 to 2, keyslot 3"],
  "rotation-done": [rotation, "disk:password of data, version 1 to 2, keyslot 3"],
  "rotation-finished": [rotation, "disk:password of data, version 1 to 2, keyslot 3"],
  "header-accepted": [{ volume: "data" }, "web1/data: the next LUKS header that is opened is taken as it is"],
  "header-known": [
    {
      path: "disk:password",
      luksUuid: "u",
      reason: "first use",
      header: { cipher: "aes-xts-plain64", sectorSize: 512 },
    },
    "disk:password, LUKS u: aes-xts-plain64, sectors of 512, from its first use",
  ],
  "header-destroyed": [{ volume: "data", count: 3 }, "3 headers of data"],
  "header-escrowed": [{ volume: "data", version: 2, reason: "rotate" }, "header 2 of data, after rotate"],
  "header-released": [{ volume: "data", version: 2 }, "header 2 of data"],
  "rotation-looked-at": [rotation, "disk:password of data, version 1 to 2, keyslot 3"],
  "rotation-reverted": [rotation, "disk:password of data, version 1 to 2, keyslot 3"],
  "rotation-rolled-back": [rotation, "disk:password of data, version 1 to 2, keyslot 3"],
  "secret-imported": [secrets, "web1: disk:password"],
  "secret-set": [secrets, "web1: disk:password"],
  "secret-show-denied": [secrets, "web1: disk:password"],
  "secret-shown": [secrets, "web1: disk:password"],
  "secrets-rekeyed": [{ phase: "started", recipients: ["age1x"] }, "started, to age1x"],
  "store-backed-up": [{ path: "/mnt/b.db", force: false }, "to /mnt/b.db"],
  "volume-locked": [{ secrets: ["volumes:data:luks:key"] }, "web1: volumes:data:luks:key"],
  "volume-unlocked": [{ secrets: [] }, "web1: every secret"],
  "volume-command": [
    { fun: "volume.destroy", target: { kind: "glob", expr: "web1" }, args: [], kwargs: { name: "x" }, force: true },
    'volume.destroy on web1 name="x" WITH FORCE',
  ],
};

const textOf = (kind: string, data: JsonObject) =>
  auditCells({ seq: 1, at: AT, kind, actor: "ann", subject: "web1", from: "", data, prev: "", hash: "" }).at(-1)?.text;

test.each(AUDIT_KINDS)("a record of the kind %s is a line of words", (kind) => {
  const [data, said] = SAID[kind];
  const text = textOf(kind, data);
  expect(text).toContain(said);
  expect(text).not.toMatch(/[{}\n]/u);
});

test("a receipt of a mount says how long after the key was in hand; a key that was kept is said to be in any", () => {
  const mounted = { lease: 7, path: "disk:password", outcome: "mounted", wiped: true, tookMs: 310.4 };
  expect(textOf("receipt", mounted)).toBe("lease 7, disk:password: mounted after 310 ms");
  const kept = { ...mounted, wiped: false };
  expect(textOf("receipt", kept)).toBe("lease 7, disk:password: mounted, NOT WIPED after 310 ms");
});

test("who came by the control socket is shown with the user that their client named", () => {
  const who = (actor: string, data: JsonObject) =>
    auditCells({ seq: 1, at: AT, kind: "deny", actor, subject: "", from: "", data, prev: "", hash: "" })[3]?.text;
  expect(who("root", { user: "ann" })).toBe("root (ann)");
  expect([who("root", { user: "root" }), who("root", {}), who("ann", { user: 1 })]).toEqual(["root", "root", "ann"]);
});

test("the other verdicts of a policy and the other phases of a rekey", () => {
  expect(textOf("policy-changed", { kind: "none", hash: "", problem: "" })).toContain("no release policy any more");
  expect(textOf("policy-changed", { kind: "broken", hash: "0", problem: "bad rule" })).toBe(
    "NOTHING IS RELEASED: bad rule",
  );
  const counts = { phase: "finished", rekeyed: 2, already: 1, failed: 0 };
  expect(textOf("secrets-rekeyed", counts)).toBe("finished: 2 encrypted anew, 1 were so already, 0 could not be");
});

test("the end of an identity", () => {
  expect(textOf("identity-replaced", { phase: "dropped", recipient: "age1new", older: ["age1old"] })).toContain(
    "age1old is destroyed, age1new is left",
  );
});

test("a record of a version to come is shown as it is", () => {
  expect(textOf("from-the-future", { a: 1 })).toBe('web1: {"a":1}');
});
