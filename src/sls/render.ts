import Handlebars from "handlebars";
import { ConfigError, errorMessage } from "../core/errors.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { isMarkable, markContent, type Rendered, takeMarks, unmarked } from "./line-marks.ts";
import { configErrorAt, lastWrittenLine, quoteLine } from "./located-error.ts";
import type { RenderContext } from "./low.ts";
import { didYouMean } from "./nearest.ts";
import { HELPERS, type Helper, lookupPath, templateText, type TemplateValue } from "./template-helpers.ts";

type Program = ReturnType<typeof Handlebars.parse>;
type Statement = Program["body"][number];
type Path = hbs.AST.PathExpression;
type ContentVisitor = (statement: hbs.AST.ContentStatement) => void;
type Call = hbs.AST.MustacheStatement | hbs.AST.BlockStatement | hbs.AST.SubExpression;

/** The helper that every `{{...}}` of a template is turned into: it refuses what is missing, and says where. */
const NEED = "_need";
const BLOCKS: readonly string[] = ["if", "unless", "each", "with", "lookup", "raw"];
const KNOWN: readonly string[] = [...Object.keys(HELPERS), ...BLOCKS, "pillar", "grains"];

function isPath(expression: hbs.AST.Expression): expression is Path {
  return expression.type === "PathExpression";
}

class Template {
  readonly #text: string;
  readonly #file: string;
  readonly #content: ContentVisitor;

  constructor(text: string, file: string, content: ContentVisitor) {
    this.#text = text;
    this.#file = file;
    this.#content = content;
  }

  error(why: string, line: number): ConfigError {
    const place = { file: this.#file, line };
    return configErrorAt("bad-template", `cannot render template: ${why}`, place, quoteLine(this.#text, line));
  }

  parse(): Program {
    try {
      return Handlebars.parse(this.#text);
    } catch (thrown) {
      const message = errorMessage(thrown);
      const found = Number(/(?:on line |- )(\d+)/u.exec(message)?.[1] ?? 1);
      const reason = /Expecting .*got '([^']*)'/u.exec(message)?.[1];
      const why =
        reason === undefined ? message.split("\n")[0] : reason === "EOF" ? "it ends too early" : "syntax error";
      throw this.error(why ?? "syntax error", lastWrittenLine(this.#text, found));
    }
  }

  /** Checks every call against the known helpers and turns every output into a call of NEED, in place. */
  prepare(program: Program): void {
    for (const statement of program.body) this.#statement(statement);
  }

  #statement(statement: Statement): void {
    switch (statement.type) {
      case "ContentStatement":
        this.#content(statement as hbs.AST.ContentStatement);
        return;
      case "CommentStatement":
        return;
      case "MustacheStatement":
        this.#mustache(statement as hbs.AST.MustacheStatement);
        return;
      case "BlockStatement": {
        const block = statement as hbs.AST.BlockStatement;
        this.#call(block, block.path);
        // absent programs are undefined at run time, whatever the types say
        for (const program of [block.program, block.inverse] as (Program | undefined)[]) {
          if (program) this.prepare(program);
        }
        return;
      }
      default:
        throw this.error("partials and decorators are not allowed", statement.loc.start.line);
    }
  }

  #mustache(statement: hbs.AST.MustacheStatement): void {
    const { path, params, loc } = statement;
    const isCall = params.length > 0 || statement.hash !== undefined || this.#names(path, KNOWN);
    if (isCall) this.#call(statement, path);
    const written = isPath(path) ? path.original : "";
    const inner = isCall
      ? ({ type: "SubExpression", path, params, hash: statement.hash, loc } as hbs.AST.SubExpression)
      : path;
    const literal = (value: string): hbs.AST.StringLiteral => ({ type: "StringLiteral", value, original: value, loc });
    const line: hbs.AST.NumberLiteral = {
      type: "NumberLiteral",
      value: loc.start.line,
      original: loc.start.line,
      loc,
    };
    statement.path = {
      type: "PathExpression",
      data: false,
      depth: 0,
      parts: [NEED],
      original: NEED,
      loc,
    };
    statement.params = [inner, literal(written), line];
    Reflect.deleteProperty(statement, "hash");
  }

  #names(path: hbs.AST.Expression, names: readonly string[]): boolean {
    return isPath(path) && path.parts.length === 1 && path.depth === 0 && names.includes(path.original);
  }

  #call(call: Call, path: hbs.AST.Expression): void {
    const line = call.loc.start.line;
    const isCall = call.params.length > 0 || (call.hash as hbs.AST.Hash | undefined) !== undefined;
    if (isPath(path) && isCall && !this.#names(path, KNOWN)) {
      throw this.error(`unknown helper "${path.original}"${didYouMean(path.original, KNOWN)}`, line);
    }
    const hash = (call.hash as hbs.AST.Hash | undefined)?.pairs.map((pair) => pair.value) ?? [];
    for (const param of [...call.params, ...hash]) {
      if (param.type === "SubExpression") {
        const inner = param as hbs.AST.SubExpression;
        this.#call(inner, inner.path);
      }
    }
  }
}

interface HelperOptions {
  readonly loc?: { readonly start: { readonly line: number } };
}

function environment(template: Template, context: JsonObject): typeof Handlebars {
  const handlebars = Handlebars.create();
  handlebars.unregisterHelper("log");
  const register = (name: string, helper: Helper) => {
    handlebars.registerHelper(name, (...args: unknown[]) => {
      const options = args.pop() as HelperOptions;
      try {
        return helper(...(args as TemplateValue[]));
      } catch (thrown) {
        throw template.error(`${name}: ${errorMessage(thrown)}`, options.loc?.start.line ?? 1);
      }
    });
  };
  for (const [name, helper] of Object.entries(HELPERS)) register(name, helper);
  for (const name of ["pillar", "grains"]) {
    register(name, (path, fallback) => {
      if (typeof path !== "string") throw new Error('the first argument is not a path such as "a:b"');
      const found = lookupPath(context[name] ?? null, path);
      if (found !== undefined && found !== null) return found;
      if (fallback === undefined) throw new Error(`there is no ${name} value "${path}"`);
      return fallback;
    });
  }
  handlebars.registerHelper("raw", function raw(this: unknown, options: Handlebars.HelperOptions) {
    return options.fn(this);
  });
  handlebars.registerHelper(NEED, (value: TemplateValue, written: string, line: number) => {
    if (value !== undefined && value !== null) return templateText(value);
    const what = written === "" ? "the value is missing" : `"${written}" ${value === null ? "is empty" : "is missing"}`;
    throw template.error(what, line);
  });
  return handlebars;
}

function render(text: string, file: string, context: Readonly<Record<string, Json>>, content: ContentVisitor): string {
  const template = new Template(text, file, content);
  const program = template.parse();
  template.prepare(program);
  try {
    const compiled = environment(template, context).compile<JsonObject>(program, { noEscape: true });
    return compiled(context, { allowProtoPropertiesByDefault: false, allowProtoMethodsByDefault: false });
  } catch (thrown) {
    if (thrown instanceof ConfigError) throw thrown;
    throw template.error(errorMessage(thrown), 1);
  }
}

/**
 * Renders a handlebars template: nothing is escaped, prototypes are out of reach, partials and decorators are refused.
 * A `{{value}}` that is missing or null is an error (`{{default value "x"}}` says otherwise); `if` and `each` take what is
 * missing as empty; lists and maps print as JSON. Throws ConfigError `bad-template` with file, line and offending text.
 */
export function renderTemplate(text: string, file: string, context: Readonly<Record<string, Json>>): string {
  return text.includes("{{") ? render(text, file, context, () => {}) : text;
}

/** Renders an SLS file with what every SLS sees: `id`, `grains` and `pillar`. See `renderTemplate`. */
export function renderSls(text: string, file: string, { id, grains, pillar }: RenderContext): string {
  return renderTemplate(text, file, { id, grains, pillar });
}

/** The same, with the line that each line of the rendered text was written on: errors name the file as it is. */
export function renderSlsLines(text: string, file: string, { id, grains, pillar }: RenderContext): Rendered {
  if (!text.includes("{{") || !isMarkable(text)) return unmarked(renderSls(text, file, { id, grains, pillar }));
  return takeMarks(render(text, file, { id, grains, pillar }, markContent));
}
