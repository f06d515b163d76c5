import { ConfigError } from "../core/errors.ts";

/** Statements of Jinja, and its ways to reach a value: within so many characters, or each `{{` is looked at to the end. */
const JINJA =
  /\{%[-+]?\s*(?:if|elif|else|for|set|macro|import|from|include|end\w+)\b|\{\{[^}]{0,200}(?:\[['"]|\b(?:pillar|grains)\.get\()/u;

/** The error, with a hint where the text is written in Salt's template language and that is likely why. */
export function withJinjaHint(error: ConfigError, text: string): ConfigError {
  const { code, message, facts, hint, cause } = error;
  if (hint !== undefined || !["bad-template", "bad-yaml"].includes(code) || !JINJA.test(text)) return error;
  return new ConfigError(code, message, {
    facts,
    cause,
    hint: "this looks like Jinja: templates are handlebars here, {{#if pillar.x}}...{{/if}} and {{pillar.x}}",
  });
}
