import { ConfigError } from "../../core/errors.ts";
import { LEASE_PURPOSES } from "../../core/lease-purpose.ts";
import { z } from "../../core/schema.ts";
import { compileValidator, type Validator } from "./expression.ts";
import { cidrSchema } from "./network.ts";
import { timeWindowSchema } from "./time-window.ts";

const oneOrMany = (item: z.ZodType<string>) =>
  z.union([item, z.array(item).min(1)]).transform((value) => (typeof value === "string" ? [value] : value));
const name = z.string().min(1).max(200);

/** More releases a day than this are not told apart. */
export const MAX_BUDGET = 2000;

const DURATION = /^(\d+)\s*(ms|s|m|h|d)$/u;
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration as `90s`, `10m`, `2h`, `1d`; in milliseconds when parsed. */
const duration = z
  .string()
  .regex(DURATION, "write a duration as 90s, 10m, 2h or 1d")
  .transform((text) => {
    const [, count = "0", unit = "ms"] = DURATION.exec(text) ?? [];
    return Number(count) * (UNIT_MS[unit] ?? 1);
  });

const approvalsSchema = z
  .strictObject({
    count: z.number().int().positive(),
    /** Operators who may approve; all of them when left out. */
    of: z.array(name).min(1).optional(),
  })
  .refine(({ count, of }) => of === undefined || new Set(of).size >= count, "there are fewer operators than approvals");

/** One rule as `release.yaml` has it. All that stands under `match` must hold for the rule to decide. */
const ruleSchema = z.strictObject({
  name,
  match: z
    .strictObject({
      /** Globs over minion ids. */
      hosts: oneOrMany(name).optional(),
      nodegroups: oneOrMany(name).optional(),
      /** Globs over pillar paths of secrets. */
      secrets: oneOrMany(name).optional(),
      purposes: z.array(z.enum(LEASE_PURPOSES)).min(1).optional(),
      networks: z.array(cidrSchema).min(1).optional(),
      when: timeWindowSchema.optional(),
      /** CEL over `instance` and `request`. */
      validator: z.string().min(1).max(2000).optional(),
    })
    .default({}),
  verdict: z.enum(["allow", "hold", "deny"]).default("allow"),
  /** What an allowed lease asks for besides; what is not met makes it a hold. */
  require: z
    .strictObject({
      once_a_boot: z.boolean().optional(),
      announced_reboot: z.boolean().optional(),
      liveness: duration.optional(),
      budget_per_day: z
        .number()
        .int()
        .positive()
        .max(MAX_BUDGET, `a budget is at most ${MAX_BUDGET} leases a day: more are not counted`)
        .optional(),
      approvals: approvalsSchema.optional(),
    })
    .default({}),
  /** Who lifts a hold that another requirement caused; one operator, whoever it is, when left out. */
  lift: approvalsSchema.optional(),
});

/** The whole file: rules in order, the first that matches decides, and what no rule matches is denied. */
export const releaseFileSchema = z
  .strictObject({
    nodegroups: z.record(name, z.array(name).min(1)).default({}),
    /** Whether a run that does more than look is pushed only by an operator who signs it. */
    signed_pushes: z.boolean().default(false),
    rules: z.array(ruleSchema).max(1000),
  })
  .superRefine(({ rules }, context) => {
    const seen = new Set<string>();
    for (const [index, rule] of rules.entries()) {
      if (seen.has(rule.name)) {
        context.addIssue({
          code: "custom",
          path: ["rules", index, "name"],
          message: `another rule is named "${rule.name}"`,
        });
      }
      seen.add(rule.name);
    }
  });

type RuleFile = z.infer<typeof ruleSchema>;

/** A rule ready to be evaluated. */
export interface Rule extends Omit<RuleFile, "match"> {
  readonly match: Omit<RuleFile["match"], "validator"> & { readonly validator?: Validator };
}

/** A release policy ready to be evaluated. */
export interface ReleasePolicy {
  readonly nodegroups: Readonly<Record<string, readonly string[]>>;
  readonly signedPushes: boolean;
  readonly rules: readonly Rule[];
  /** Whether any rule has an expression. */
  readonly hasExpressions: boolean;
}

/** Compiles what `release.yaml` holds once parsed; throws ConfigError `bad-release-policy` that names the place. */
export function compilePolicy(parsed: unknown): ReleasePolicy {
  const result = releaseFileSchema.safeParse(parsed);
  if (!result.success) {
    const [issue] = result.error.issues;
    const place = issue?.path.map(String).join(".") ?? "";
    throw new ConfigError(
      "bad-release-policy",
      `cannot use the release policy: ${place === "" ? "" : `${place}: `}${issue?.message}`,
      {
        facts: { path: place },
        hint: "no key is released until the file is right",
      },
    );
  }
  return {
    nodegroups: result.data.nodegroups,
    signedPushes: result.data.signed_pushes,
    hasExpressions: result.data.rules.some(({ match }) => match.validator !== undefined),
    rules: result.data.rules.map(({ match: { validator, ...match }, ...rule }) => ({
      ...rule,
      match: { ...match, ...(validator === undefined ? {} : { validator: compileValidator(validator) }) },
    })),
  };
}
