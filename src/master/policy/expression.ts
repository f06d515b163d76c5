import { Environment } from "@marcbachmann/cel-js";
import { ConfigError, errorMessage } from "../../core/errors.ts";
import type { ReleaseFacts } from "./facts.ts";
import { plainAddress } from "./network.ts";
import { isPlausible } from "./time-window.ts";

/**
 * What an expression can speak of, with its types: another field, or one of another type, is refused when the policy is
 * read. `instance.grains` are the host's own claims, and so of any type: a host that was taken over says what it likes
 * there. `request.purpose` is its word too.
 */
const FIELDS = {
  instance: { name: "string", address: "string", nodegroups: "list<string>", grains: "map<string, dyn>" },
  request: {
    secret: "string",
    purpose: "string",
    time: "google.protobuf.Timestamp",
    newBoot: "bool",
    everLeased: "bool",
    rebootAnnounced: "bool",
    leasesThisBoot: "int",
    leasesInDay: "int",
    silentSeconds: "int",
    approvals: "list<string>",
  },
} as const;

const environment = new Environment({ limits: { maxAstNodes: 500, maxDepth: 50 } })
  .registerVariable({ name: "instance", schema: FIELDS.instance })
  .registerVariable({ name: "request", schema: FIELDS.request });

/** `has(instance.nmae)` is no type error, only never so: the library lets it pass. */
const HAS = /\bhas\s*\(\s*(instance|request)\s*\.\s*(\w+)/gu;

function assertKnown(text: string): void {
  for (const [, variable, field = ""] of text.matchAll(HAS)) {
    const fields = variable === "instance" ? FIELDS.instance : FIELDS.request;
    if (!Object.hasOwn(fields, field)) throw new Error(`No such key: ${field}`);
  }
}

/** A compiled expression: true when the rule may match. */
export interface Validator {
  readonly text: string;
  /** `problem`: it is neither true nor false, and why. */
  evaluate(context: ExpressionContext): Judgement;
}

/** What an expression comes to. */
export type Judgement = { readonly holds: boolean } | { readonly problem: string };

/** Says what an expression comes to over the facts. */
export type Judge = (validator: Validator, facts: ReleaseFacts) => Judgement;

/** Evaluates in this very thread, with no limit of time: for an operator's own cases. */
export const evaluateHere: Judge = (validator, facts) => validator.evaluate(contextOf(facts));

/** Compiles a CEL expression; throws ConfigError `bad-expression` when it does not parse or type-check. */
export function compileValidator(text: string): Validator {
  let run: (context: Record<string, unknown>) => unknown;
  try {
    const parsed = environment.parse(text);
    const checked = parsed.check();
    if (!checked.valid) throw checked.error ?? new Error("it does not type-check");
    if (checked.type !== "bool" && checked.type !== "dyn") throw new Error("it is neither true nor false");
    assertKnown(text);
    run = parsed;
  } catch (cause) {
    throw new ConfigError("bad-expression", `cannot read expression "${text}": ${errorMessage(cause)}`, { cause });
  }
  return {
    text,
    evaluate(context) {
      try {
        const value = run({ ...context });
        return value === true || value === false ? { holds: value } : { problem: "it is neither true nor false" };
      } catch (thrown) {
        // the first line: what follows quotes the expression
        return { problem: errorMessage(thrown).split("\n", 1)[0] ?? "" };
      }
    },
  };
}

/** What an expression sees. */
export interface ExpressionContext {
  readonly instance: Readonly<Record<string, unknown>>;
  readonly request: Readonly<Record<string, unknown>>;
}

const whole = (count: number | null) => (count === null || !Number.isFinite(count) ? null : BigInt(Math.floor(count)));

/** The facts as expressions see them. What is not known is left out: an expression that asks for it cannot be evaluated. */
export function contextOf(facts: ReleaseFacts): ExpressionContext {
  const known = (fields: Readonly<Record<string, unknown>>) =>
    Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
  return {
    instance: known({
      name: facts.minionId,
      address: plainAddress(facts.address) ?? null,
      nodegroups: facts.nodegroups,
      grains: facts.grains,
    }),
    request: known({
      secret: facts.secret,
      purpose: facts.purpose,
      time: isPlausible(facts.now) ? new Date(facts.now) : null,
      newBoot: facts.newBoot,
      everLeased: facts.everLeased,
      rebootAnnounced: facts.rebootAnnounced,
      leasesThisBoot: whole(facts.leasesThisBoot),
      leasesInDay: whole(facts.leasesInDay),
      silentSeconds: facts.silentMs === null ? null : whole(facts.silentMs / 1000),
      approvals: facts.approvals.map((approval) => approval.operator),
    }),
  };
}
