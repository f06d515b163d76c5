import type { FastifyInstance } from "fastify";
import type { Clock } from "../../core/clock.ts";
import { ConfigError, errorMessage } from "../../core/errors.ts";
import { assertMinionId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type {
  Explained,
  HoldEntry,
  HoldList,
  OperatorList,
  PolicyStatus,
  RebootAnnounced,
  RevocationAnswer,
} from "../../core/release-api.ts";
import { LEASE_PURPOSES } from "../../core/lease-purpose.ts";
import { z } from "../../core/schema.ts";
import { targetMatcher } from "../../sls/target.ts";
import { unknownIds } from "../jobs/named-ids.ts";
import { parseBody } from "../api/answer.ts";
import { CLAIMED_FACTS } from "../policy/facts.ts";
import type { Rule } from "../policy/rules.ts";
import type { GateRequest } from "./gate.ts";
import type { Hold } from "./hold-record.ts";
import type { ReleaseRoom } from "./release-room.ts";

/** What the routes need besides the room. */
export interface ReleaseRouteOptions {
  readonly room: ReleaseRoom;
  readonly clock: Clock;
  /** Fingerprint of the master. */
  readonly master: string;
  readonly approvalMs: number;
  readonly acceptedIds: () => readonly string[];
  /** Refuses, by throwing, that these hosts restart. */
  readonly mayReboot?: (ids: readonly string[], force: boolean, by: string) => Promise<void>;
  readonly grainsOf: (id: string) => JsonObject;
  /** Pillar paths of the secrets that this minion's own compiled pillar names. Throws when its pillar is broken. */
  readonly secretPaths: (id: string) => Promise<Pick<ReadonlySet<string>, "has">>;
  /** Whether the master would make a key for this lease. Throws when the host's pillar is broken. */
  readonly makesKey: (asked: Pick<GateRequest, "id" | "path" | "purpose">) => Promise<boolean>;
  /** Address and boot_id of a host as it was last seen; "" when unknown. */
  readonly lastSeen: (id: string) => { readonly address: string; readonly bootId: string };
}

const text = z.string().max(1000);
const word = z.string().min(1).max(300);
const signature = z
  .string()
  .regex(/^[0-9a-f]{128}$/u)
  .optional();
const approvalSchema = z.strictObject({
  statement: z.strictObject({
    what: z.literal("approve"),
    master: text,
    hold: word,
    minion: word,
    secret: text,
    purpose: text,
    device: z.string().max(4096),
    address: text,
    bootId: text,
    reasons: text,
    operator: word,
    expires: z.number(),
  }),
  signature,
});
const rebootSchema = z.strictObject({
  statement: z.strictObject({
    what: z.literal("reboot"),
    master: text,
    targetKind: z.enum(["glob", "list", "grain"]),
    target: z.string().min(1).max(1_000_000),
    windowMs: z.number().int().min(1000).max(86_400_000),
    operator: word,
    expires: z.number(),
    nonce: z.string().regex(/^[0-9a-f]{32}$/u),
  }),
  signature,
  force: z.boolean().optional(),
});
const secretPath = z.string().min(1).max(500);
const revocationSchema = z.strictObject({
  action: z.enum(["allow", "revoke"]),
  id: word,
  path: secretPath.nullable(),
});
const operatorSchema = z.discriminatedUnion("action", [
  z.strictObject({
    action: z.literal("add"),
    name: word,
    publicKey: z.base64().length(44, "an Ed25519 public key is 32 bytes"),
  }),
  z.strictObject({ action: z.literal("remove"), name: word }),
]);
const explainSchema = z.strictObject({
  id: word,
  path: secretPath,
  purpose: z.enum(LEASE_PURPOSES),
  at: z.number().optional(),
  newBoot: z.boolean(),
  address: text.optional(),
});

/** Adds the routes over holds, operators, reboots and the release policy. Their types are in core/release-api.ts. */
export function addReleaseRoutes(app: FastifyInstance, options: ReleaseRouteOptions): void {
  const { room, clock } = options;
  const { holds, operators } = room;
  const entry = (hold: Hold): HoldEntry => ({
    ...hold,
    approvals: holds.approvalsFor(hold, hold.askers).map(({ operator, at, expires }) => ({ operator, at, expires })),
  });
  app.get("/v1/holds", async (): Promise<HoldList> => ({
    holds: holds.list().map(entry),
    revocations: room.revocations.list(),
    locks: room.locks.list(),
    master: options.master,
    now: clock.now(),
    approvalMs: options.approvalMs,
    operators: operators.list().length,
  }));
  app.post("/v1/holds/approve", async ({ body }): Promise<HoldEntry> => {
    const { statement, signature: signed } = parseBody(approvalSchema, body);
    return entry(await room.approve(statement, signed));
  });
  app.post("/v1/holds/deny", async ({ body }): Promise<HoldEntry> =>
    entry(await room.deny(parseBody(z.strictObject({ hold: word }), body).hold)),
  );
  app.post("/v1/revocations", async ({ body }): Promise<RevocationAnswer> => {
    const { action, id, path } = parseBody(revocationSchema, body);
    assertMinionId(id);
    if (action === "allow") return room.allow(id, path);
    await room.revoke(id, path);
    return { lifted: 0, denials: 0, about: await revokedAbout(options, id, path) };
  });
  app.post("/v1/reboots", async ({ body }): Promise<RebootAnnounced> => {
    const { statement, signature: signed, force = false } = parseBody(rebootSchema, body);
    const { targetKind, target, operator } = statement;
    const matches = targetMatcher(targetKind, target);
    const accepted = options.acceptedIds();
    const ids = accepted.filter((id) => matches({ id, grains: options.grainsOf(id), pillar: {} }));
    if (ids.length === 0) {
      throw new ConfigError("no-target", "cannot announce a reboot: no accepted minion matches the target");
    }
    room.assertAnnouncer(statement, signed);
    await options.mayReboot?.(ids, force, operator);
    const unknown = unknownIds({ kind: targetKind, expr: target }, accepted);
    return { ids, unknown, until: await room.announce(ids, statement, signed) };
  });
  app.get("/v1/operators", async (): Promise<OperatorList> => ({ operators: operators.list() }));
  app.post("/v1/operators", async ({ body }): Promise<OperatorList> => {
    const request = parseBody(operatorSchema, body);
    if (request.action === "remove") await operators.remove(request.name);
    else await operators.add(request.name, Buffer.from(request.publicKey, "base64"), clock.now());
    return { operators: operators.list() };
  });
  addPolicyRoutes(app, options);
}

/** Whether a revocation meets anything: one of a mistyped name takes nothing away. */
async function revokedAbout(options: ReleaseRouteOptions, id: string, path: string | null) {
  if (!options.acceptedIds().includes(id)) return "host-unknown";
  if (path === null) return "known";
  const refusal = await pillarRefusal(options, id, path);
  return refusal?.code === "not-in-pillar" ? "secret-unknown" : "known";
}

/** Why a host gets no such secret whatever the release policy says; undefined when its own pillar names it. */
async function pillarRefusal({ secretPaths }: ReleaseRouteOptions, id: string, path: string) {
  try {
    if ((await secretPaths(id)).has(path)) return undefined;
    return { code: "not-in-pillar", text: "the host's pillar names no such secret" };
  } catch (error) {
    return { code: "failed", text: errorMessage(error) };
  }
}

function addPolicyRoutes(app: FastifyInstance, options: ReleaseRouteOptions): void {
  const { room, clock, lastSeen } = options;
  app.get("/v1/policy", async (): Promise<PolicyStatus> => {
    const loaded = await room.policy.current();
    const policy = loaded.kind === "policy" ? loaded.policy : undefined;
    return {
      path: room.policy.path,
      kind: loaded.kind,
      hash: loaded.hash,
      problem: loaded.kind === "broken" ? loaded.problem : "",
      rules: (policy?.rules ?? []).map(shown),
      nodegroups: policy?.nodegroups ?? {},
    };
  });
  app.post("/v1/policy/forget", async (): Promise<{ readonly forgotten: boolean }> => ({
    forgotten: await room.forgetPolicy(),
  }));
  app.post("/v1/policy/explain", async ({ body }): Promise<Explained> => {
    const { id, path, purpose, at, newBoot, address } = parseBody(explainSchema, body);
    assertMinionId(id);
    const seen = lastSeen(id);
    const hold = room.holds
      .list()
      .find((one) => one.id === id && one.path === path && one.purpose === purpose && one.bootId === seen.bootId);
    const refusal = await pillarRefusal(options, id, path);
    const request = {
      id,
      path,
      purpose,
      makesKey: refusal === undefined && (await options.makesKey({ id, path, purpose })),
      device: hold?.device ?? "",
      luksUuid: "",
      address: address ?? hold?.address ?? seen.address,
      bootId: newBoot ? "a boot to come" : seen.bootId,
    };
    const {
      rule,
      facts,
      approvalsNeeded,
      policyHash = "",
      ...rest
    } = await room.gate.explain(request, at ?? clock.now());
    if (refusal) {
      const none = { rule: null, claims: CLAIMED_FACTS, passedOver: [], approvalsNeeded: null };
      return { verdict: "deny", reasons: [refusal], policyHash, facts: asJson(facts) as JsonObject, ...none };
    }
    return {
      ...rest,
      policyHash,
      rule: rule ?? null,
      facts: asJson(facts) as JsonObject,
      claims: CLAIMED_FACTS,
      approvalsNeeded: approvalsNeeded ? { ...approvalsNeeded, of: approvalsNeeded.of ?? null } : null,
    };
  });
}

/** A plain copy, without what JSON has no word for. */
const asJson = (value: object): Json => JSON.parse(JSON.stringify(value)) as Json;

function shown({ name, verdict, match: { validator, ...match }, require }: Rule): PolicyStatus["rules"][number] {
  return {
    name,
    verdict,
    match: asJson({ ...match, ...(validator === undefined ? {} : { validator: validator.text }) }),
    require: asJson(require),
  };
}
