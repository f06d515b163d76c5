import { execFileSync } from "node:child_process";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { build, type BuildOptions, type Plugin } from "esbuild";

/** `node build.ts [DIRECTORY]`. */
const DIST = resolve(process.argv[2] ?? join(import.meta.dirname, "dist"));

const MINION = "minion.cjs";

/** A minion's memory when everything is loaded: what `bin/latchkey minion` begins with. */
const SNAPSHOT = join(DIST, "minion.blob");

const COMMON = {
  absWorkingDir: import.meta.dirname,
  outdir: DIST,
  bundle: true,
  minify: true,
  platform: "node",
  target: "node24",
  external: ["zeromq", "sodium-native"],
  legalComments: "none",
  logLevel: "warning",
} satisfies BuildOptions;

/** Has the entry load the minion's own bundle in place of its sources. */
const minionApart: Plugin = {
  name: "minion-apart",
  setup: (bundling) => {
    bundling.onLoad({ filter: /\/src\/main-minion\.ts$/ }, () => ({
      contents: `export const { runMinion } = require("./${MINION}");`,
      loader: "js",
    }));
  },
};

/** In a snapshot there is no native addon: it is loaded at its first use, from beside the program that was named. */
const addonAtFirstUse: Plugin = {
  name: "addon-at-first-use",
  setup: (bundling) => {
    bundling.onResolve({ filter: /^zeromq$/ }, ({ path }) => ({ path, namespace: "addon" }));
    bundling.onLoad({ filter: /.*/, namespace: "addon" }, () => ({
      contents: `let loaded;
const load = () => (loaded ??= require("node:module").createRequire(require("node:path").resolve(process.argv[1]))("zeromq"));
module.exports = { ${["context", "Dealer", "Publisher", "Reply", "Router", "Subscriber"].map((name) => `get ${name}() { return load().${name}; }`).join(", ")} };`,
      loader: "js",
    }));
  },
};

/**
 * Bundles everything but the native ZeroMQ addon: dist/latchkey.mjs, and beside it the chunks it loads when a command
 * needs them, so that asking a master loads neither the daemons nor their libraries. What a minion is started with lies in
 * one file more, in CommonJS: linking as many ES modules takes Node longer than running them.
 */
const [minion, program, snapshot] = await Promise.all([
  build({
    ...COMMON,
    entryPoints: { minion: "src/main-minion.ts" },
    write: false,
    format: "cjs",
    outExtension: { ".js": ".cjs" },
  }),
  build({
    ...COMMON,
    // the second is what the master runs in a thread of its own: it looks for it beside itself
    entryPoints: { latchkey: "src/main.ts", expressions: "src/main-expressions.ts" },
    write: false,
    splitting: true,
    format: "esm",
    outExtension: { ".js": ".mjs" },
    chunkNames: "chunk-[hash]",
    external: [...COMMON.external, `./${MINION}`],
    plugins: [minionApart],
    // packages written for CommonJS call require() for Node's own modules
    banner: { js: 'import{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);' },
  }),
  build({
    ...COMMON,
    entryPoints: { snapshot: "src/main-snapshot.ts" },
    write: false,
    format: "cjs",
    external: [],
    // what is loaded late is in there too
    supported: { "dynamic-import": false },
    plugins: [addonAtFirstUse],
  }),
]);
const outputFiles = [...minion.outputFiles, ...program.outputFiles];

await mkdir(DIST, { recursive: true });
await rm(SNAPSHOT, { force: true });
// the entry last: it names the chunks, and its time is what bin/latchkey compares
const entryLast = outputFiles.toSorted((a, b) => Number(isEntry(a.path)) - Number(isEntry(b.path)));
for (const file of entryLast) {
  await writeFile(`${file.path}.new`, file.contents);
  await rename(`${file.path}.new`, file.path);
}
const current = new Set(outputFiles.map((file) => basename(file.path)));
for (const name of await readdir(DIST)) {
  if (name.startsWith("chunk-") && !current.has(name)) await rm(join(DIST, name), { force: true });
}

await takeSnapshot(snapshot.outputFiles[0]?.contents ?? new Uint8Array());

/**
 * Writes the snapshot with this Node, which is the only one that can begin with it. So the file gets the very time of Node's
 * binary: `bin/latchkey` uses it only while the two are equal, and older than the bundle, which a tree whose times were made
 * alike no longer is.
 */
async function takeSnapshot(program: Uint8Array): Promise<void> {
  const source = join(DIST, "snapshot.cjs");
  await writeFile(source, program);
  const made = `${SNAPSHOT}.new`;
  try {
    execFileSync(process.execPath, ["--no-warnings", "--snapshot-blob", made, "--build-snapshot", source], {
      env: { PATH: process.env["PATH"] ?? "" },
      stdio: ["ignore", "ignore", "inherit"],
    });
    execFileSync("touch", ["-r", process.execPath, made]);
    await rename(made, SNAPSHOT);
  } catch (error) {
    // a Node that cannot make one: everything works without, a minion only starts slower
    console.error(`warning: no snapshot was made, minions will begin from the bundle: ${String(error)}`);
  }
  await rm(source);
}

function isEntry(path: string): boolean {
  return basename(path) === "latchkey.mjs";
}
