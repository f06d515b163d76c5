import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JsonObject } from "../../../../src/core/json.ts";
import { EventBus } from "../../../../src/master/events.ts";
import type { GateDecision, GateRequest } from "../../../../src/master/release/gate.ts";
import { ReleaseRoom } from "../../../../src/master/release/release-room.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { HandClock, openAudit, quiet, recordsOf } from "../fakes.ts";

/** A release room over a store in memory; the host's last boot, as the master heard it, is in `boot`. */
export async function openGate(policy: string, grains?: JsonObject) {
  const directory = mkdtempSync(join(tmpdir(), "latchkey-gate-"));
  const policyPath = join(directory, "release.yaml");
  writeFileSync(policyPath, policy);
  const clock = new HandClock();
  const store = new MemoryStore(clock);
  const audit = await openAudit(store, clock);
  const heard = { boot: "A" };
  const room = await ReleaseRoom.open({
    store,
    events: new EventBus(clock),
    log: quiet,
    clock,
    master: "SHA256:master",
    policyPath,
    approvalMs: 3_600_000,
    heartbeatMs: 15_000,
    // long enough for a machine that is busy
    expressionMs: 1000,
    holdCommand: undefined,
    holdWebhook: undefined,
    // as the master does for a host without a session: each time another map
    grainsOf: () => grains ?? {},
    bootOf: () => heard.boot,
    journal: async ({ kind, actor, subject, data }, changes = []) => {
      await audit.append({ at: clock.now(), kind, actor, subject, from: "", data }, changes);
    },
    nudge: async () => {},
    cut: async () => {},
  });
  /** Records of one kind in the audit log. */
  const audited = async (kind: string) => (await recordsOf(store)).filter((record) => record.kind === kind);
  /** Asks as a host does; what is allowed is released. */
  const decide = async (request: Partial<GateRequest> = {}): Promise<GateDecision> => {
    const decision = await room.gate.authorize({
      id: "storage-1",
      address: "10.20.3.4",
      path: "disk:data",
      purpose: "open",
      device: "/dev/vg0/data",
      luksUuid: "",
      bootId: "A",
      ...request,
    });
    if (decision.verdict === "allow") {
      await store.write(decision.changes);
      decision.settle(true);
    }
    return decision;
  };
  /** The verdict, and of what is not allowed the codes of its reasons. */
  const ask = async (request: Partial<GateRequest> = {}): Promise<string> => {
    const { verdict, reasons } = await decide(request);
    const codes = reasons.map(({ code }) => code).filter((code) => code !== "approvals");
    return verdict === "allow" ? verdict : [verdict, ...codes].join(" ");
  };
  const announce = async () => {
    const statement = {
      what: "reboot" as const,
      master: "SHA256:master",
      targetKind: "glob",
      target: "*",
      windowMs: 600_000,
      operator: "root",
      expires: clock.now() + 1000,
      nonce: randomBytes(16).toString("hex"),
    };
    await room.announce(["storage-1"], statement, undefined);
  };
  const close = () => {
    room.close();
    rmSync(directory, { recursive: true, force: true });
  };
  return { room, store, clock, heard, decide, ask, announce, audited, close };
}
