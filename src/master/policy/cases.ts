import { ConfigError } from "../../core/errors.ts";
import { LEASE_PURPOSES } from "../../core/lease-purpose.ts";
import { z } from "../../core/schema.ts";
import { decide } from "./decide.ts";
import { evaluateHere } from "./expression.ts";
import type { Decision, ReleaseFacts } from "./facts.ts";
import type { ReleasePolicy } from "./rules.ts";

/** null is what is not known. */
const factsSchema = z.strictObject({
  minionId: z.string().default("host-1"),
  nodegroups: z.array(z.string()).optional(),
  secret: z.string().default("password"),
  purpose: z.enum(LEASE_PURPOSES).default("open"),
  /** Of a format: whether the master makes a new key for it. */
  makesKey: z.boolean().default(false),
  address: z.string().default("192.0.2.10"),
  /** ISO 8601. */
  now: z.iso.datetime({ offset: true }).default("2026-01-07T12:00:00Z"),
  leasesThisBoot: z.number().int().nonnegative().nullable().default(0),
  opensThisBoot: z.number().int().nonnegative().nullable().default(0),
  newBoot: z.boolean().nullable().default(true),
  everLeased: z.boolean().nullable().default(false),
  rebootAnnounced: z.boolean().nullable().default(false),
  silentSeconds: z.number().nonnegative().nullable().default(0),
  leasesInDay: z.number().int().nonnegative().nullable().default(0),
  approvals: z.array(z.string()).default([]),
  asker: z.string().optional(),
  grains: z.record(z.string(), z.json()).nullable().default({}),
  cipher: z.string().default("aes-xts-plain64"),
  sectorSize: z.number().int().nonnegative().default(4096),
  integrity: z.string().default(""),
  headerKnown: z.boolean().default(true),
});

/** Cases kept beside a release policy: facts, what is left out being harmless, and the verdict they must get. */
export const caseFileSchema = z.strictObject({
  cases: z.array(
    z.strictObject({
      name: z.string().min(1),
      facts: factsSchema.prefault({}),
      verdict: z.enum(["allow", "hold", "deny"]),
      /** Reason codes that must be among those given. */
      reasons: z.array(z.string()).default([]),
    }),
  ),
});

type PolicyCase = z.infer<typeof caseFileSchema>["cases"][number];

/** What became of one case. */
export interface CaseResult {
  readonly name: string;
  readonly passed: boolean;
  /** What was wanted and what came, when they differ. */
  readonly difference: string;
  readonly decision: Decision;
}

/** Reads a parsed case file; throws ConfigError `bad-policy-cases`. */
export function readCases(parsed: unknown): readonly PolicyCase[] {
  const result = caseFileSchema.safeParse(parsed);
  if (result.success) return result.data.cases;
  const [issue] = result.error.issues;
  throw new ConfigError(
    "bad-policy-cases",
    `cannot read policy cases: ${issue?.path.map(String).join(".")}: ${issue?.message}`,
  );
}

function factsOf(
  { facts }: PolicyCase,
  policy: ReleasePolicy | undefined,
  inGroup: (glob: string, id: string) => boolean,
): ReleaseFacts {
  const { asker, ...known } = facts;
  const now = Date.parse(facts.now);
  const groups = Object.entries(policy?.nodegroups ?? {})
    .filter(([, globs]) => globs.some((glob) => inGroup(glob, facts.minionId)))
    .map(([group]) => group);
  return {
    ...known,
    now,
    nodegroups: facts.nodegroups ?? groups,
    silentMs: facts.silentSeconds === null ? null : facts.silentSeconds * 1000,
    approvals: facts.approvals.map((operator) => ({ operator, at: now })),
    askers: asker === undefined ? [] : [asker],
  };
}

/** Runs every case against a policy. */
export function runCases(
  policy: ReleasePolicy | undefined,
  cases: readonly PolicyCase[],
  inGroup: (glob: string, id: string) => boolean,
): readonly CaseResult[] {
  return cases.map((entry) => {
    const decision = decide(policy, factsOf(entry, policy, inGroup), evaluateHere);
    const codes = decision.reasons.map((reason) => reason.code);
    const missing = entry.reasons.filter((code) => !codes.includes(code));
    const differences = [
      ...(decision.verdict === entry.verdict ? [] : [`wanted ${entry.verdict}, got ${decision.verdict}`]),
      ...(missing.length === 0 ? [] : [`reasons ${missing.join(", ")} are missing from ${codes.join(", ")}`]),
    ];
    return { name: entry.name, passed: differences.length === 0, difference: differences.join("; "), decision };
  });
}
