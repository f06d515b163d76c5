import type { Reason, ReleaseFacts } from "./facts.ts";
import type { Rule } from "./rules.ts";
import { anyOf, told, type Truth } from "./truth.ts";

/** What is asked of an allowed lease besides approvals, which are counted elsewhere. */
type Require = Omit<Rule["require"], "approvals">;
type Wanted = { readonly [Key in keyof Require]-?: NonNullable<Require[Key]> };
type Given = { readonly [Key in keyof Wanted]?: Wanted[Key] | undefined };

interface Requirement<Wanted> {
  /** Code of the reason that says that it is not met. */
  readonly code: string;
  readonly met: (wanted: Wanted, facts: ReleaseFacts) => Truth;
  readonly why: (wanted: Wanted, facts: ReleaseFacts) => string;
  /** What is not known when it cannot be told. */
  readonly unknown: string;
}

/** Every requirement: a new one does not compile without its row. */
const REQUIREMENTS: { readonly [Key in keyof Wanted]: Requirement<Wanted[Key]> } = {
  once_a_boot: {
    code: "once-a-boot",
    met: (wanted, facts) => (wanted ? told(facts.leasesThisBoot, (count) => count === 0) : "yes"),
    why: () => "the key was leased in this boot already",
    unknown: "it is not known whether the key was leased in this boot already",
  },
  announced_reboot: {
    code: "unannounced-reboot",
    met: (wanted, { everLeased, newBoot, rebootAnnounced }) =>
      wanted
        ? anyOf(
            told(everLeased, (ever) => !ever),
            told(newBoot, (isNew) => !isNew),
            told(rebootAnnounced, (announced) => announced),
          )
        : "yes",
    why: () => "the host has restarted and nobody announced it",
    unknown: "it is not known whether the host has restarted, or whether that was announced",
  },
  liveness: {
    code: "liveness",
    met: (wanted, facts) => told(facts.silentMs, (silentMs) => silentMs <= wanted),
    why: (_wanted, { silentMs }) => `the host was silent for ${Math.round((silentMs ?? 0) / 1000)} s`,
    unknown: "it is not known how long the host was silent",
  },
  budget_per_day: {
    code: "budget",
    met: (wanted, facts) => told(facts.leasesInDay, (count) => count < wanted),
    why: (wanted, { leasesInDay }) => `${leasesInDay} of ${wanted} leases a day are used`,
    unknown: "it is not known how many leases of a day are used",
  },
};
const ALL = Object.keys(REQUIREMENTS) as readonly (keyof Wanted)[];

/** Code of the reason that says that a requirement could not be told: what was approved as one is not the other. */
const unknownCode = (code: string) => `${code}-unknown`;

/** Codes that say that a lease's boot, or the silence before it, was objected to. */
export const OBJECTIONS = {
  boot: codesOf("announced_reboot"),
  silence: codesOf("liveness"),
} as const;

function codesOf(key: keyof Wanted): readonly string[] {
  const { code } = REQUIREMENTS[key];
  return [code, unknownCode(code)];
}

function unmet<Key extends keyof Wanted>(key: Key, require: Pick<Given, Key>, facts: ReleaseFacts): readonly Reason[] {
  const wanted = require[key];
  if (wanted === undefined) return [];
  const row: Requirement<Wanted[Key]> = REQUIREMENTS[key];
  const { code, met, why, unknown } = row;
  const truth = met(wanted, facts);
  if (truth === "yes") return [];
  return [truth === "no" ? { code, text: why(wanted, facts) } : { code: unknownCode(code), text: unknown }];
}

/** What a rule requires and is not met, or cannot be told, which is no better. */
export function unmetRequirements({ require }: Pick<Rule, "require">, facts: ReleaseFacts): readonly Reason[] {
  return ALL.flatMap((key) => unmet(key, require, facts));
}
