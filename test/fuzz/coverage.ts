import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { HITS, instrument } from "./instrument.ts";

const PROJECT = resolve(import.meta.dirname, "../..");
const MAX_POINTS = 1 << 16;

/** The counters of one module. */
interface Module {
  readonly file: string;
  readonly first: number;
  readonly points: number;
  readonly texts: readonly string[];
}

/** The counters of every module that this thread has loaded since `countVisits`. */
export interface Coverage {
  readonly hits: Uint32Array;
  readonly modules: readonly Module[];
  /** How many counters there are by now. */
  size(): number;
}

/**
 * From now on modules of the project's `src/` and of the given packages count their visits when they are loaded in this
 * thread. Must come before their first import.
 */
export function countVisits(packages: readonly string[]): Coverage {
  const hits = new Uint32Array(MAX_POINTS);
  Reflect.set(globalThis, HITS, hits);
  const modules: Module[] = [];
  let used = 0;
  const added = (file: string, source: string, kind: "typescript" | "module" | "script"): string => {
    const made = instrument(source, kind, used);
    if (used + made.points > MAX_POINTS) throw new RangeError(`more than ${MAX_POINTS} branches`);
    modules.push({ file: relative(PROJECT, file), first: used, points: made.points, texts: made.texts });
    used += made.points;
    return made.source;
  };
  const own = [resolve(PROJECT, "src"), resolve(PROJECT, "test/fuzz/planted")].map((folder) => `${folder}/`);
  const foreign = packages.map((name) => `${resolve(PROJECT, "node_modules", name)}/`);
  registerHooks({
    load(url, context, nextLoad) {
      const file = url.startsWith("file:") ? fileURLToPath(url) : "";
      if (own.some((folder) => file.startsWith(folder)) && file.endsWith(".ts")) {
        const source = added(file, readFileSync(file, "utf8"), "typescript");
        return { format: "module", source, shortCircuit: true };
      }
      const loaded = nextLoad(url, context);
      if (!foreign.some((folder) => file.startsWith(folder))) return loaded;
      const kind = loaded.format === "module" ? "module" : loaded.format === "commonjs" ? "script" : undefined;
      if (kind === undefined) return loaded;
      return { ...loaded, source: added(file, readFileSync(file, "utf8"), kind) };
    },
  });
  return { hits, modules, size: () => used };
}
