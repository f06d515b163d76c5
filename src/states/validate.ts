import type { JsonObject } from "../core/json.ts";
import type { AnyState } from "./state.ts";

/** What is wrong with one parameter of a state. */
export interface ParamIssue {
  /** The parameter as written, `a.b` inside maps; "" for the state as a whole. */
  readonly param: string;
  /** `unknown`: no such parameter; the message then leaves out what was probably meant. */
  readonly kind: "unknown" | "invalid";
  /** Lower case, no period. Never repeats the value. */
  readonly message: string;
}

/** The states that exist, as the language sees them: what may be written, and what watches turn into. */
export interface StateCatalogue {
  readonly names: readonly string[];
  has(name: string): boolean;
  /** Whether a watch on this state makes it act; otherwise `watch` means `require`. */
  reacts(name: string): boolean;
  /** Names of the state's parameters; [] when it takes any. */
  params(name: string): readonly string[];
  /** Every mistake in the parameters, [] for none. Throws nothing. */
  validate(name: string, params: JsonObject): readonly ParamIssue[];
}

/** The parameter names of a state's schema, in its order; [] when the schema is no plain object. */
export function paramNames(state: AnyState): readonly string[] {
  const schema: object = state.params;
  const shape: unknown = "shape" in schema ? schema.shape : undefined;
  return typeof shape === "object" && shape !== null ? Object.keys(shape) : [];
}

/** Checks parameters (`name` included) against a state's schema. */
export function validateParams(state: AnyState, params: JsonObject): readonly ParamIssue[] {
  const parsed = state.params.safeParse(params);
  if (parsed.success) return [];
  return parsed.error.issues.flatMap((issue): readonly ParamIssue[] => {
    const path = issue.path.map(String);
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => ({
        param: [...path, key].join("."),
        kind: "unknown",
        message: `${state.name} has no parameter "${[...path, key].join(".")}"`,
      }));
    }
    const param = path.join(".");
    const reason = issue.message.charAt(0).toLowerCase() + issue.message.slice(1);
    const missing = path.length === 1 && params[path[0] ?? ""] === undefined;
    const message = missing ? `${state.name} needs the parameter "${param}"` : `${state.name}: "${param}": ${reason}`;
    return [{ param, kind: "invalid", message: param === "" ? `${state.name}: ${reason}` : message }];
  });
}

/** The catalogue of a list of states, such as the registry's. */
export function catalogueOf(states: readonly AnyState[]): StateCatalogue {
  const byName = new Map(states.map((state) => [state.name, state]));
  return {
    names: [...byName.keys()],
    has: (name) => byName.has(name),
    reacts: (name) => byName.get(name)?.react !== undefined,
    params: (name) => {
      const state = byName.get(name);
      return state ? paramNames(state) : [];
    },
    validate: (name, params) => {
      const state = byName.get(name);
      return state ? validateParams(state, params) : [];
    },
  };
}
