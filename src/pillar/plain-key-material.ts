import { isJsonObject, type Json } from "../core/json.ts";
import { parseYamlDocument } from "../sls/yaml.ts";

const NAME =
  /(?:^|[_-])(?:pass(?:word|phrase|wd)?|secrets?|tokens?|credentials?|keyfile|(?:luks|private|api|access|encryption|signing)?[_-]?key)$/iu;
/** What may stand under such a name and is no key: references, paths, URLs of other stores, age recipients. */
const HARMLESS = /^(?:|secret:.*|\/.*|salt:\/\/.*|age1.*|ssh-.*)$/su;

/** Values that say themselves what they are: private keys as OpenSSL, OpenSSH and age write them. */
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----|AGE-SECRET-KEY-1|AGE-SECRET-KEY-PQ-1/u;
/** 256 bits or more in hex or base64, with no name that explains them. */
const DENSE = /^(?:[0-9a-f]{64,}|(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9+/_-]{43,}={0,2})$/u;
const PUBLIC_NAME = /hash|digest|sum|sha\d|fingerprint|finger|public|cert|uuid|recipient|revision|commit|image/iu;

/** Whether a plain value looks like key material, by its name or by itself. `keys` lead to it. */
function isKeyMaterial(keys: readonly (string | number)[], value: string): boolean {
  if (PRIVATE_KEY.test(value)) return true;
  const name = keys.findLast((part) => typeof part === "string") ?? "";
  if (HARMLESS.test(value)) return false;
  return NAME.test(name) || (DENSE.test(value) && !PUBLIC_NAME.test(name));
}

/** A plain value that looks like key material, and where it stands. */
export interface PlainKey {
  readonly path: string;
  readonly line: number;
}

/** Plain values of a file that look like key material, for a warning. `text` must be valid pillar YAML. */
export function plainKeyMaterial(text: string, file: string): readonly PlainKey[] {
  const tags = { "!secret": () => "", "!generate": () => "" };
  return parseYamlDocument(text, file, { tags, secretive: true })
    .scalars.filter(({ tag, text: value, path }) => tag === "" && isKeyMaterial(path, value))
    .map(({ path, line }) => ({ path: path.join(":"), line }));
}

/** The same in a compiled pillar, by path. */
export function plainKeysIn(value: Json, path: readonly (string | number)[] = []): readonly string[] {
  if (typeof value === "string") return isKeyMaterial(path, value) ? [path.join(":")] : [];
  if (Array.isArray(value))
    return (value as readonly Json[]).flatMap((item, index) => plainKeysIn(item, [...path, index]));
  return isJsonObject(value) ? Object.entries(value).flatMap(([key, item]) => plainKeysIn(item, [...path, key])) : [];
}
