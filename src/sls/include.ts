import { ConfigError } from "../core/errors.ts";
import { SLS_NAME } from "../core/ids.ts";
import { readSls, type SlsFile, type Written } from "./high.ts";
import { configErrorAt } from "./located-error.ts";
import type { RenderContext, SlsSource } from "./low.ts";
import { withJinjaHint } from "./jinja-hint.ts";
import { didYouMean } from "./nearest.ts";
import { renderSlsLines } from "./render.ts";
import { utf8Text } from "../core/utf8-text.ts";

/** Where an SLS was asked for, for messages. */
interface Asker {
  readonly file: string;
  readonly line: number;
}

/** Every SLS file that a run needs, includes before those who include them, and what went wrong on the way. */
export interface Loaded {
  readonly files: readonly SlsFile[];
  readonly errors: readonly ConfigError[];
}

/**
 * The full name of an include as written in `from`: `.x` is beside it, `..x` one level up. Undefined when it leads out of
 * the roots or is no SLS name.
 */
function resolveInclude(name: string, from: SlsFile): string | undefined {
  const dots = /^\.*/u.exec(name)?.[0].length ?? 0;
  if (dots === 0) return SLS_NAME.test(name) ? name : undefined;
  const parts = from.sls.split(".");
  // an init.sls is the package itself, any other file is in its package
  const levels = from.file.endsWith("/init.sls") ? dots - 1 : dots;
  if (levels > parts.length) return undefined;
  const full = [...parts.slice(0, parts.length - levels), name.slice(dots)].join(".");
  return SLS_NAME.test(full) ? full : undefined;
}

async function readFirst(source: SlsSource, sls: string): Promise<{ file: string; bytes: Uint8Array } | undefined> {
  const path = sls.replaceAll(".", "/");
  for (const file of [`${path}.sls`, `${path}/init.sls`]) {
    const bytes = await source.read(file);
    if (bytes) return { file, bytes };
  }
  return undefined;
}

class Loader {
  readonly files: SlsFile[] = [];
  readonly errors: ConfigError[] = [];
  readonly #begun = new Set<string>();
  readonly #source: SlsSource;
  readonly #context: RenderContext;

  constructor(source: SlsSource, context: RenderContext) {
    this.#source = source;
    this.#context = context;
  }

  async #missing(sls: string, asker: Asker | undefined): Promise<void> {
    const guess = didYouMean(sls, await this.#known());
    const why = `cannot find SLS "${sls}" in ${this.#source.roots ?? "the file roots"}${guess}`;
    const hint = `it would be ${sls.replaceAll(".", "/")}.sls or ${sls.replaceAll(".", "/")}/init.sls`;
    this.errors.push(
      asker ? configErrorAt("sls-missing", why, asker, sls, { hint }) : new ConfigError("sls-missing", why, { hint }),
    );
  }

  /** Names of every SLS in the roots. */
  async #known(): Promise<readonly string[]> {
    const paths = (await this.#source.paths?.()) ?? [];
    return paths.flatMap((path) => {
      const name = /^(.+?)(?:\/init)?\.sls$/u.exec(path)?.[1]?.replaceAll("/", ".");
      return name === undefined || name === "top" ? [] : [name];
    });
  }

  async load(sls: string, asker?: Asker): Promise<void> {
    if (this.#begun.has(sls)) return;
    this.#begun.add(sls);
    const found = SLS_NAME.test(sls) ? await readFirst(this.#source, sls) : undefined;
    if (!found) {
      await this.#missing(sls, asker);
      return;
    }
    const written = this.#read(found.bytes, found.file);
    if (written === undefined) return;
    const { parsed, errors } = readSls(written, sls, found.file);
    this.errors.push(...errors.map((error) => withJinjaHint(error, written.text)));
    for (const { name, line } of parsed.includes) {
      const full = resolveInclude(name, parsed);
      if (full === undefined) await this.#missing(name, { file: found.file, line });
      else await this.load(full, { file: found.file, line });
    }
    this.files.push(parsed);
  }

  #read(bytes: Uint8Array, file: string): Written | undefined {
    try {
      const text = utf8Text(bytes, file);
      return { text, ...renderSlsLines(text, file, this.#context) };
    } catch (thrown) {
      if (!(thrown instanceof ConfigError)) throw thrown;
      this.errors.push(withJinjaHint(thrown, Buffer.from(bytes).toString("utf8")));
      return undefined;
    }
  }
}

/**
 * Reads the named SLS files and everything that they include, each once, depth first. A missing file, a broken template
 * or broken YAML is among `errors`; what else could be read is there all the same.
 */
export async function loadSls(names: readonly string[], source: SlsSource, context: RenderContext): Promise<Loaded> {
  const loader = new Loader(source, context);
  for (const name of names) await loader.load(name);
  return loader;
}
