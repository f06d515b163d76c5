import { Environment } from "@marcbachmann/cel-js";
import { ConfigError, errorMessage } from "../../core/errors.ts";
import { type Claims, claimsForRules } from "./claims.ts";
import type { ReleaseFacts } from "./facts.ts";
import { compileLinear, matchesLinear } from "./linear-regex.ts";
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
    cipher: "string",
    sectorSize: "int",
    integrity: "string",
    headerKnown: "bool",
  },
} as const;

/** The name under which `matches` is in linear time. */
const LINEAR = "linear_matches";

const environment = new Environment({ limits: { maxAstNodes: 500, maxDepth: 50 } })
  .registerVariable({ name: "instance", schema: FIELDS.instance })
  .registerVariable({ name: "request", schema: FIELDS.request })
  .registerFunction(`string.${LINEAR}(string): bool`, matchesLinear);

/**
 * Has every `matches` of a parsed expression, also those in macros, call ours: the library's own backtracks, and cannot be
 * replaced under its name. A pattern that is written out is compiled on the way. Throws Error for one that is none.
 */
function useLinearMatches(node: unknown, seen = new Set<unknown>()): void {
  if (typeof node !== "object" || node === null || seen.has(node)) return;
  seen.add(node);
  if (isMatchesCall(node)) {
    node.args[0] = LINEAR;
    const pattern = node.args[2][0];
    if (pattern?.op === "value" && typeof pattern.args === "string") compileLinear(pattern.args);
  }
  for (const member of Object.values(node)) useLinearMatches(member, seen);
}

interface MatchesCall {
  readonly args: [name: string, receiver: unknown, args: readonly { readonly op?: unknown; readonly args?: unknown }[]];
}

function isMatchesCall(node: object): node is MatchesCall {
  return (
    "op" in node && node.op === "rcall" && "args" in node && Array.isArray(node.args) && node.args[0] === "matches"
  );
}

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
    useLinearMatches(parsed.ast);
    const checked = parsed.check();
    if (!checked.valid) throw checked.error ?? new Error("it does not type-check");
    if (checked.type !== "bool" && checked.type !== "dyn") throw new Error("it is neither true nor false");
    assertKnown(text);
    run = parsed;
  } catch (cause) {
    const why = errorMessage(cause).replaceAll(LINEAR, "matches");
    throw new ConfigError("bad-expression", `cannot read expression "${text}": ${why}`, { cause });
  }
  return {
    text,
    evaluate(context) {
      try {
        const value = run(celValues(context));
        return value === true || value === false ? { holds: value } : { problem: "it is neither true nor false" };
      } catch (thrown) {
        // the first line: what follows quotes the expression
        return { problem: errorMessage(thrown).split("\n", 1)[0]?.replaceAll(LINEAR, "matches") ?? "" };
      }
    },
  };
}

/**
 * What an expression sees, in values that JSON has, so that it can go to another thread. What is not known is left out: an
 * expression that asks for it cannot be evaluated.
 */
export interface ExpressionContext {
  readonly instance: { readonly [field in Exclude<keyof typeof FIELDS.instance, "grains">]?: unknown };
  readonly claims: Claims | null;
  readonly request: { readonly [field in keyof typeof FIELDS.request]?: unknown };
}

const whole = (count: number | null) => (count === null || !Number.isFinite(count) ? null : Math.floor(count));

/** The facts as expressions see them. */
export function contextOf(facts: ReleaseFacts): ExpressionContext {
  return {
    instance: known({
      name: facts.minionId,
      address: plainAddress(facts.address) ?? null,
      nodegroups: facts.nodegroups,
    }),
    claims: facts.grains && claimsForRules(facts.grains),
    request: known({
      secret: facts.secret,
      purpose: facts.purpose,
      time: isPlausible(facts.now) ? facts.now : null,
      newBoot: facts.newBoot,
      everLeased: facts.everLeased,
      rebootAnnounced: facts.rebootAnnounced,
      leasesThisBoot: whole(facts.leasesThisBoot),
      leasesInDay: whole(facts.leasesInDay),
      silentSeconds: whole(facts.silentMs === null ? null : facts.silentMs / 1000),
      approvals: facts.approvals.map((approval) => approval.operator),
      cipher: facts.cipher,
      sectorSize: whole(facts.sectorSize),
      integrity: facts.integrity,
      headerKnown: facts.headerKnown,
    }),
  };
}

const known = (fields: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));

/** The values in CEL's types. */
function celValues({ instance, claims, request }: ExpressionContext): Record<string, unknown> {
  const typed = Object.entries(request).map(([field, value]) => {
    if (field === "time") return [field, new Date(Number(value))] as const;
    return [field, typeof value === "number" ? BigInt(value) : value] as const;
  });
  return {
    instance: claims ? { ...instance, grains: celClaims(claims) } : instance,
    request: Object.fromEntries(typed),
  };
}

/** Claims that are more than they may be are there, and throw when they are asked for: `has` must not say that they are not. */
function celClaims({ grains, tooLarge }: Claims): object {
  if (tooLarge.length === 0) return grains;
  const throwing = tooLarge.map((name): [string, PropertyDescriptor] => {
    const get = () => {
      throw new Error(`claim "${name}" is larger than rules look at`);
    };
    return [name, { get, enumerable: true }];
  });
  return Object.defineProperties({ ...grains }, Object.fromEntries(throwing));
}
