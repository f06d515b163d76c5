import { ConfigError } from "../core/errors.ts";
import { assertMinionId, SLS_NAME } from "../core/ids.ts";
import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import { utf8Text } from "../core/utf8-text.ts";
import { configErrorAt } from "../sls/located-error.ts";
import type { RenderContext, SlsSource } from "../sls/low.ts";
import { renderSls } from "../sls/render.ts";
import { readTop } from "../sls/top.ts";
import { mergePillar } from "./merge.ts";
import { parsePillarFile, type PillarFile, type PillarParser } from "./parse.ts";
import { assertSecretPath, type SecretNode, secretNodeOf } from "./secret-node.ts";
import { templateGrains } from "./template-grains.ts";

/** Where pillar files come from. */
export interface PillarFiles extends SlsSource {
  /** The host's own file, `hosts/<id>.yaml` below the first pillar root; undefined when there is none. */
  readHost(path: string): Promise<Uint8Array | undefined>;
}

/** One host's pillar: safe to show, log and send, for secrets are only named in it (I5). */
export interface CompiledPillar {
  /** Each secret is the text `secret:<path>`. */
  readonly pillar: JsonObject;
  /** What the references stand for, by path: keys and list indexes joined by colons, as Salt's `pillar.get` takes them. */
  readonly secrets: ReadonlyMap<string, SecretNode>;
}

/** The path of a host's own file below the first pillar root. Throws ConfigError `bad-minion-id`. */
export function hostFilePath(id: string): string {
  return `hosts/${assertMinionId(id)}.yaml`;
}

interface Tree {
  readonly files: PillarFiles;
  readonly context: RenderContext;
  readonly parse: PillarParser;
  /** Names already merged; an SLS counts once, where it came first. */
  readonly seen: Set<string>;
}

/** `.sibling` and `..above` as Salt resolves them, from the place of the file that includes. */
function absoluteName(name: string, from: string, path: string, file: PillarFile): string {
  const dots = /^\.+/u.exec(name)?.[0].length ?? 0;
  const parents = path.endsWith("/init.sls") ? [...from.split("."), "init"] : from.split(".");
  const whole = dots === 0 ? name : [...parents.slice(0, -dots), name.slice(dots)].join(".");
  if (dots <= parents.length && SLS_NAME.test(whole)) return whole;
  throw configErrorAt(
    "bad-pillar",
    `cannot include "${name}": no such place`,
    { file: path, line: file.includeLine },
    name,
  );
}

async function readSls({ files }: Tree, name: string): Promise<{ readonly path: string; readonly bytes: Uint8Array }> {
  const base = name.replaceAll(".", "/");
  for (const path of [`${base}.sls`, `${base}/init.sls`]) {
    const bytes = await files.read(path);
    if (bytes) return { path, bytes };
  }
  throw new ConfigError(
    "missing-pillar-sls",
    `cannot find pillar SLS "${name}": no ${base}.sls and no ${base}/init.sls`,
    {
      hint: "look for its name in the pillar's top.sls and in include lists",
      facts: { sls: name, file: `${base}.sls` },
    },
  );
}

/** An SLS with what it includes, itself merged last. */
async function compileSls(tree: Tree, name: string): Promise<JsonObject> {
  tree.seen.add(name);
  const { path, bytes } = await readSls(tree, name);
  const file = tree.parse(renderSls(utf8Text(bytes, path), path, tree.context), path);
  let included: JsonObject = {};
  for (const written of file.include) {
    const other = absoluteName(written, name, path, file);
    if (!tree.seen.has(other)) included = mergePillar(included, await compileSls(tree, other));
  }
  return mergePillar(included, file.data);
}

/** A host's own file is not cached: each has one reader. */
function readHostFile(text: string, path: string): JsonObject {
  const { data, include, includeLine } = parsePillarFile(text, path);
  if (include.length === 0) return data;
  throw configErrorAt("bad-pillar", "cannot include from a host's own file", { file: path, line: includeLine }, "", {
    hint: "name the SLS in the pillar's top.sls",
  });
}

/** The value with references in place of secrets, each entered into the table. */
function refer(value: Json, path: readonly string[], secrets: Map<string, SecretNode>): Json {
  const node = secretNodeOf(value);
  if (node) {
    const name = assertSecretPath(path, node);
    secrets.set(name, node);
    return `secret:${name}`;
  }
  if (Array.isArray(value)) {
    return (value as readonly Json[]).map((item, index) => refer(item, [...path, String(index)], secrets));
  }
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, refer(item, [...path, key], secrets)]));
}

/**
 * Compiles one host's pillar: the SLS files that `top.sls` gives it, rendered with its grains and merged in order, then its
 * own file `hosts/<id>.yaml`, which is plain YAML (never rendered, so that it can be edited in place) and wins. Any mistake
 * in any of them throws a ConfigError that names file and line: there is no half pillar.
 */
export async function compilePillar(
  files: PillarFiles,
  id: string,
  grains: JsonObject,
  parse: PillarParser = parsePillarFile,
): Promise<CompiledPillar> {
  const hostFile = hostFilePath(id);
  const context: RenderContext = { id, grains: templateGrains(grains), pillar: {} };
  const tree: Tree = { files, context, parse, seen: new Set() };
  let pillar: JsonObject = {};
  for (const name of (await readTop(files, context)) ?? []) {
    if (!tree.seen.has(name)) pillar = mergePillar(pillar, await compileSls(tree, name));
  }
  const own = await files.readHost(hostFile);
  if (own) pillar = mergePillar(pillar, readHostFile(utf8Text(own, hostFile), hostFile));
  const secrets = new Map<string, SecretNode>();
  const compiled = refer(pillar, [], secrets);
  return { pillar: isJsonObject(compiled) ? compiled : {}, secrets };
}
