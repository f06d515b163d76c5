import { errorMessage } from "../../core/errors.ts";
import type { Ask } from "./answers.ts";
import { compileValidator, type Judgement, type Validator } from "./expression.ts";

/** More expressions than all rules of a policy can have. */
const MAX_COMPILED = 1000;
const compiled = new Map<string, Validator>();

function validatorOf(text: string): Validator {
  const known = compiled.get(text);
  if (known) return known;
  if (compiled.size >= MAX_COMPILED) compiled.clear();
  const made = compileValidator(text);
  compiled.set(text, made);
  return made;
}

/** What each expression comes to, in order; takes as long as it takes, and is so called in a thread that can be ended. */
export function evaluateAsks(asks: readonly Ask[]): readonly Judgement[] {
  return asks.map(({ text, context }) => {
    try {
      return validatorOf(text).evaluate(context);
    } catch (error) {
      return { problem: errorMessage(error) };
    }
  });
}
