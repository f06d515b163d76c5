import { stripTypeScriptTypes } from "node:module";
import { type AnyNode, type Node, parse } from "acorn";

/** A module whose branches count their visits. */
export interface Instrumented {
  readonly source: string;
  /** How many counters it has. */
  readonly points: number;
  /** Texts written out in it: what a decoder compares with. */
  readonly texts: readonly string[];
}

/** Where the counters of all modules lie; set before a module of these runs. */
export const HITS = "__fuzzHits";

const MAX_TEXT = 40;

/**
 * Makes every function, branch, loop body, case and right side of `&&`, `||` and `??` count its visits in the array under
 * HITS, from index `first` on. Types are stripped, and no line moves.
 */
export function instrument(source: string, kind: "typescript" | "module" | "script", first: number): Instrumented {
  const code = kind === "typescript" ? stripTypeScriptTypes(source) : source;
  const program = parse(code, {
    ecmaVersion: "latest",
    sourceType: kind === "script" ? "script" : "module",
    allowReturnOutsideFunction: true,
    allowHashBang: true,
  });
  const edits = new Edits(first);
  const texts = new Set<string>();
  walk(program, edits, texts);
  // behind directives, or a script that says "use strict" would not be strict
  const body = program.body.find((statement) => !("directive" in statement));
  edits.before(body?.start ?? code.length, `const ${HITS}_ = globalThis.${HITS};`);
  return { source: edits.apply(code), points: edits.next - first, texts: [...texts] };
}

/** What is to be put in where. At one place, what ends there comes before what begins there. */
class Edits {
  next: number;
  readonly #before = new Map<number, string[]>();
  readonly #after = new Map<number, string[]>();

  constructor(first: number) {
    this.next = first;
  }

  count(): string {
    const counter = `${HITS}_[${this.next}]++`;
    this.next += 1;
    return counter;
  }

  before(at: number, text: string): void {
    this.#before.set(at, [...(this.#before.get(at) ?? []), text]);
  }

  /** Inner nodes have to be walked before this is called for the outer one. */
  after(at: number, text: string): void {
    this.#after.set(at, [...(this.#after.get(at) ?? []), text]);
  }

  apply(code: string): string {
    const places = [...new Set([...this.#before.keys(), ...this.#after.keys()])].sort((a, b) => a - b);
    let out = "";
    let at = 0;
    for (const place of places) {
      const put = [...(this.#after.get(place) ?? []), ...(this.#before.get(place) ?? [])];
      out += code.slice(at, place) + put.join("");
      at = place;
    }
    return out + code.slice(at);
  }
}

function walk(node: AnyNode, edits: Edits, texts: Set<string>): void {
  const { bodies, values } = branchesOf(node);
  for (const value of values) edits.before(value.start, `(${edits.count()},`);
  for (const body of bodies) {
    if (body.type === "BlockStatement") edits.before(body.start + 1, `${edits.count()};`);
    else edits.before(body.start, `{${edits.count()};`);
  }
  if (node.type === "SwitchCase") edits.before(node.consequent[0]?.start ?? node.end, `${edits.count()};`);
  if (node.type === "Literal" && typeof node.value === "string" && node.value !== "") {
    if (node.value.length <= MAX_TEXT) texts.add(node.value);
  }
  for (const child of childrenOf(node)) walk(child, edits, texts);
  for (const value of values) edits.after(value.end, ")");
  for (const body of bodies) if (body.type !== "BlockStatement") edits.after(body.end, "}");
  // the way past an `if` counts too
  if (node.type === "IfStatement" && !node.alternate) edits.after(node.end, ` else ${edits.count()};`);
}

interface Branches {
  readonly bodies: readonly Node[];
  readonly values: readonly Node[];
}

function branchesOf(node: AnyNode): Branches {
  switch (node.type) {
    case "FunctionDeclaration":
    case "FunctionExpression":
      return { bodies: [node.body], values: [] };
    case "ArrowFunctionExpression":
      return node.body.type === "BlockStatement"
        ? { bodies: [node.body], values: [] }
        : { bodies: [], values: [node.body] };
    case "IfStatement":
      return { bodies: [node.consequent, ...(node.alternate ? [node.alternate] : [])], values: [] };
    case "ForStatement":
    case "ForInStatement":
    case "ForOfStatement":
    case "WhileStatement":
    case "DoWhileStatement":
      return { bodies: [node.body], values: [] };
    case "CatchClause":
      return { bodies: [node.body], values: [] };
    case "ConditionalExpression":
      return { bodies: [], values: [node.consequent, node.alternate] };
    case "LogicalExpression":
      return { bodies: [], values: [node.right] };
    default:
      return { bodies: [], values: [] };
  }
}

const isNode = (value: unknown): value is AnyNode =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";

function childrenOf(node: AnyNode): readonly AnyNode[] {
  return Object.values(node)
    .flatMap((value: unknown) => (Array.isArray(value) ? (value as unknown[]) : [value]))
    .filter(isNode);
}
