import { ConfigError } from "../core/errors.ts";
import { isJsonObject, type Json } from "../core/json.ts";
import { SLS_NAME } from "../core/ids.ts";
import { utf8Text } from "../core/utf8-text.ts";
import { configErrorAt } from "./located-error.ts";
import type { RenderContext, SlsSource } from "./low.ts";
import { didYouMean } from "./nearest.ts";
import { renderSlsLines } from "./render.ts";
import { targetMatcher, type TargetKind } from "./target.ts";
import { parseYamlDocument, type YamlDocument } from "./yaml.ts";

const TOP_FILE = "top.sls";

/** Salt's words for the ways to match, and ours. */
const MATCHERS: Readonly<Record<string, TargetKind>> = {
  glob: "glob",
  list: "list",
  grain: "grain",
  pillar: "pillar",
  compound: "compound",
};

interface Entry {
  readonly sls: readonly string[];
  readonly kind: TargetKind;
}

/** The parsed top file; its lines are those of the file as written. */
type TopDocument = Pick<YamlDocument, "lineOf" | "value">;

function readEntry(list: readonly Json[], expr: string, document: TopDocument): Entry {
  const sls: string[] = [];
  let kind: TargetKind = "compound";
  for (const [index, item] of list.entries()) {
    const fail = (why: string) =>
      configErrorAt(
        "bad-top",
        `cannot use top file: ${why}`,
        { file: TOP_FILE, line: document.lineOf(list, index) },
        JSON.stringify(item),
      );
    if (typeof item === "string") {
      if (!SLS_NAME.test(item)) throw fail(`"${item}" is no SLS name`);
      sls.push(item);
    } else if (isJsonObject(item) && Object.keys(item).length === 1 && typeof item["match"] === "string") {
      const found = Object.hasOwn(MATCHERS, item["match"]) ? MATCHERS[item["match"]] : undefined;
      if (!found) throw fail(`no matcher "${item["match"]}"${didYouMean(item["match"], Object.keys(MATCHERS))}`);
      kind = found;
    } else throw fail(`under "${expr}" only SLS names and "match" may stand`);
  }
  return { sls, kind };
}

function targetsOf(document: TopDocument): readonly (readonly [string, readonly Json[], number])[] {
  const fail = (why: string, line: number, text: string) =>
    configErrorAt("bad-top", `cannot use top file: ${why}`, { file: TOP_FILE, line }, text);
  const top = document.value;
  if (top === null) return [];
  if (!isJsonObject(top)) throw fail("it is not a map of environments", 1, "");
  return Object.entries(top).flatMap(([environment, targets]) => {
    if (environment !== "base") {
      throw fail('only the environment "base" is known', document.lineOf(top, environment), environment);
    }
    if (targets === null) return [];
    if (!isJsonObject(targets)) throw fail('"base" is not a map of targets', document.lineOf(top, environment), "base");
    return Object.entries(targets).map(([expr, list]) => {
      const line = document.lineOf(targets, expr);
      const items: Json = typeof list === "string" ? [list] : list;
      if (!Array.isArray(items)) throw fail(`"${expr}" needs a list of SLS names`, line, expr);
      return [expr, items as readonly Json[], line] as const;
    });
  });
}

/**
 * The SLS names that the top file (`top.sls`, rendered) gives a minion, in its order, each once; undefined when there is
 * no top file. A target without `match` is a compound expression, of which a glob is the simplest. Throws ConfigError
 * with file and line. Source: Salt's top file.
 */
export async function readTop(source: SlsSource, context: RenderContext): Promise<readonly string[] | undefined> {
  const bytes = await source.read(TOP_FILE);
  if (!bytes) return undefined;
  const { rendered, sourceLine } = renderSlsLines(utf8Text(bytes, TOP_FILE), TOP_FILE, context);
  const parsed = parseYamlDocument(rendered, TOP_FILE, { sourceLine });
  const document: TopDocument = {
    value: parsed.value,
    lineOf: (container, key) => sourceLine(parsed.lineOf(container, key)),
  };
  const names = new Set<string>();
  for (const [expr, list, line] of targetsOf(document)) {
    const { sls, kind } = readEntry(list, expr, document);
    try {
      if (targetMatcher(kind, expr)(context)) for (const name of sls) names.add(name);
    } catch (thrown) {
      if (!(thrown instanceof ConfigError)) throw thrown;
      throw configErrorAt("bad-top", thrown.message, { file: TOP_FILE, line }, expr);
    }
  }
  return [...names];
}
