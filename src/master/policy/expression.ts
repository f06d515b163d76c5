import { Environment } from "@marcbachmann/cel-js";
import { ConfigError, errorMessage } from "../../core/errors.ts";
import type { ReleaseFacts } from "./facts.ts";

/**
 * What an expression can speak of. `instance.grains` are the host's own claims: a host that was taken over says what it
 * likes there.
 */
const environment = new Environment({ limits: { maxAstNodes: 500, maxDepth: 50 } })
  .registerVariable("instance", "map")
  .registerVariable("request", "map");

/** A compiled expression: true when the rule may match. What goes wrong at evaluation counts as false, and says why. */
export interface Validator {
  readonly text: string;
  evaluate(facts: ReleaseFacts): { readonly holds: boolean; readonly problem?: string };
}

/** Compiles a CEL expression; throws ConfigError `bad-expression` when it does not parse or type-check. */
export function compileValidator(text: string): Validator {
  let run: (context: Record<string, unknown>) => unknown;
  try {
    const parsed = environment.parse(text);
    const checked = parsed.check();
    if (!checked.valid) throw checked.error ?? new Error("it does not type-check");
    run = parsed;
  } catch (cause) {
    throw new ConfigError("bad-expression", `cannot read expression "${text}": ${errorMessage(cause)}`, { cause });
  }
  return {
    text,
    evaluate(facts) {
      try {
        const value = run(contextOf(facts));
        return value === true || value === false
          ? { holds: value }
          : { holds: false, problem: "the expression is neither true nor false" };
      } catch (thrown) {
        return { holds: false, problem: errorMessage(thrown) };
      }
    },
  };
}

function contextOf(facts: ReleaseFacts): Record<string, unknown> {
  return {
    instance: {
      name: facts.minionId,
      address: facts.address,
      nodegroups: facts.nodegroups,
      grains: facts.grains,
    },
    request: {
      secret: facts.secret,
      purpose: facts.purpose,
      time: new Date(facts.now),
      newBoot: facts.newBoot,
      everLeased: facts.everLeased,
      rebootAnnounced: facts.rebootAnnounced,
      leasesThisBoot: BigInt(facts.leasesThisBoot),
      leasesInDay: BigInt(facts.leasesInDay),
      silentSeconds: BigInt(Math.floor(facts.silentMs / 1000)),
      approvals: facts.approvals.map((approval) => approval.operator),
    },
  };
}
