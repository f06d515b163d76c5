import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Where this machine has Debian's packages from (sources.list(5)). */
export interface DebianMirror {
  /** The addresses, as apt takes them. */
  readonly uris: string;
  /** The field Signed-By as it stands, a key in place of a path included; absent where apt's own keys apply. */
  readonly signedBy?: string;
}

interface Source extends DebianMirror {
  readonly suites: readonly string[];
}

/**
 * The mirror that this machine has the packages of its own release from; undefined where it is no Debian, or has no
 * sources. Additions (security, other vendors) are told apart by their suites.
 */
export function machineMirror(etc = "/etc"): DebianMirror | undefined {
  const read = (path: string) => (existsSync(join(etc, path)) ? readFileSync(join(etc, path), "utf8") : "");
  const codename = /^VERSION_CODENAME="?(\w+)/mu.exec(read("os-release"))?.[1];
  if (codename === undefined || !/^ID="?debian"?$/mu.test(read("os-release"))) return undefined;
  const parts = existsSync(join(etc, "apt/sources.list.d")) ? readdirSync(join(etc, "apt/sources.list.d")).sort() : [];
  const sources = ["apt/sources.list", ...parts.map((name) => `apt/sources.list.d/${name}`)].flatMap((path) => {
    if (path.endsWith(".sources")) return stanzasOf(read(path));
    return path.endsWith(".list") ? linesOf(read(path)) : [];
  });
  const found = sources.find(({ suites }) => suites.includes(codename));
  if (found === undefined) return undefined;
  return { uris: found.uris, ...(found.signedBy === undefined ? {} : { signedBy: found.signedBy }) };
}

/** The stanzas for packages of a file in the format deb822. */
function stanzasOf(text: string): readonly Source[] {
  const kept = text.replaceAll(/^#.*\n?/gmu, "");
  return kept.split(/\n\s*\n/u).flatMap((stanza) => {
    const fields = new Map<string, string>();
    for (const [, name = "", value = ""] of stanza.matchAll(/^([\w-]+):((?:.*)(?:\n[ \t].*)*)/gmu)) {
      fields.set(name.toLowerCase(), value.trim());
    }
    const words = (name: string) => (fields.get(name) ?? "").split(/\s+/u).filter(Boolean);
    const off = ["no", "false", "without", "off", "disable"].includes(fields.get("enabled")?.toLowerCase() ?? "yes");
    if (off || !words("types").includes("deb")) return [];
    return source(words("uris"), words("suites"), fields.get("signed-by"));
  });
}

/** The lines for packages of a file in the format of one line a source. */
function linesOf(text: string): readonly Source[] {
  return [...text.matchAll(/^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)/gmu)].flatMap(
    ([, options = "", uri = "", suite = ""]) =>
      source([uri], [suite], /(?:^|\s)signed-by=(\S+)/u.exec(options)?.[1]?.replaceAll(",", " ")),
  );
}

/** A disc in a drive is no mirror. */
function source(uris: readonly string[], suites: readonly string[], signedBy: string | undefined): readonly Source[] {
  const usable = uris.filter((uri) => !uri.startsWith("cdrom:")).join(" ");
  return usable === "" ? [] : [{ uris: usable, suites, ...(signedBy === undefined ? {} : { signedBy }) }];
}
