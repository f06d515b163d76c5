import { createHash } from "node:crypto";
import { ConfigError } from "../../core/errors.ts";
import { isJsonObject, type Json } from "../../core/json.ts";
import { utf8Text } from "../../core/utf8-text.ts";
import type { CheckContext } from "../state.ts";

/** Where a file's content comes from. */
export interface ContentParams {
  readonly source?: string | readonly string[] | undefined;
  readonly source_hash?: string | undefined;
  readonly contents?: string | number | boolean | readonly (string | number | boolean)[] | undefined;
  readonly template?: "handlebars" | undefined;
  readonly context?: unknown;
  readonly defaults?: unknown;
}

const INLINE = "contents";
const HASH_LENGTHS: Readonly<Record<number, string>> = { 40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512" };

/** Throws ConfigError `hash-mismatch` unless the bytes have the hash, written `sha256=<hex>` or as hex alone. */
export function assertHash(data: Uint8Array, wanted: string, url: string): void {
  const hex = wanted
    .slice(wanted.search(/[=:]/u) + 1)
    .trim()
    .toLowerCase();
  const algorithm = HASH_LENGTHS[hex.length];
  if (!/^[0-9a-f]+$/u.test(hex) || algorithm === undefined) {
    throw new ConfigError("bad-hash", `cannot read source_hash "${wanted}"`, { hint: "write sha256=<64 hex digits>" });
  }
  const actual = createHash(algorithm).update(data).digest("hex");
  if (actual !== hex) {
    throw new ConfigError("hash-mismatch", `cannot use "${url}": its ${algorithm} is ${actual}, not ${hex}`);
  }
}

async function readSource(urls: readonly string[], context: CheckContext): Promise<{ data: Buffer; url: string }> {
  for (const url of urls) {
    const file = await context.source(url);
    if (file) return { data: file.data, url };
  }
  throw new ConfigError(
    "no-such-source",
    `cannot find ${urls.map((url) => `"${url}"`).join(" or ")} in the file roots`,
  );
}

const tableOf = (value: unknown): Readonly<Record<string, Json>> => (isJsonObject(value) ? value : {});

/**
 * The bytes that the file should have; undefined when neither source nor contents says so (only owner and mode then
 * count). Hashes are verified before anything is rendered. Throws ConfigError.
 */
export async function wantedContent(wanted: ContentParams, context: CheckContext): Promise<Buffer | undefined> {
  let data: Buffer;
  let url = INLINE;
  if (wanted.source !== undefined) {
    const sources = typeof wanted.source === "string" ? [wanted.source] : wanted.source;
    ({ data, url } = await readSource(sources, context));
    if (wanted.source_hash !== undefined) assertHash(data, wanted.source_hash, url);
  } else if (wanted.contents !== undefined) {
    const lines = Array.isArray(wanted.contents) ? wanted.contents : [wanted.contents];
    const text = lines.map(String).join("\n");
    data = Buffer.from(text === "" || text.endsWith("\n") ? text : `${text}\n`, "utf8");
  } else return undefined;
  if (wanted.template === undefined) return data;
  const values = { ...tableOf(wanted.defaults), ...tableOf(wanted.context) };
  return Buffer.from(context.render(utf8Text(data, url), url, values), "utf8");
}
