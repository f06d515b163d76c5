import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

const PROJECT = resolve(import.meta.dirname, "../..");
const RUNTIME = `node_modules/node-linux-${process.arch}/bin/node`;

let tree = "";
const at = (name: string) => join(tree, name);

function program(name: string, script: string): void {
  mkdirSync(resolve(at(name), ".."), { recursive: true });
  writeFileSync(at(name), `#!/bin/sh\n${script}\n`);
  chmodSync(at(name), 0o755);
}

/** A clone with nothing installed, and an npm that installs what Debian 12's does: the runtime without its link. */
beforeEach(() => {
  tree = realpathSync(mkdtempSync(join(tmpdir(), "latchkey-own-node-")));
  mkdirSync(at("bin"));
  for (const name of ["bin/own-node", "bin/latchkey"]) copyFileSync(join(PROJECT, name), at(name));
  const runtime = `printf '#!/bin/sh\\necho own "$@"\\n' >${RUNTIME}; chmod +x ${RUNTIME}`;
  program("path/npm", `[ "$*" = ci ] || exit 9; mkdir -p node_modules/node-linux-${process.arch}/bin; ${runtime}`);
});
afterEach(() => rmSync(tree, { recursive: true }));

const start = (name: string, ...args: string[]): string =>
  execFileSync(at(name), args, { encoding: "utf8", env: { PATH: `${at("path")}:/usr/bin:/bin` } });

test("a bare clone gets the packages, and the link to its own Node that npm 9 leaves out", () => {
  expect(start("bin/own-node")).toBe("the project's packages are not installed yet: npm ci\n");
  expect(realpathSync(at("node_modules/.bin/node"))).toBe(at(RUNTIME));
});

test("where only the link is missing nothing is installed again; where all is there nothing happens", () => {
  program(RUNTIME, "echo own");
  program("path/npm", "exit 9");
  expect(start("bin/own-node")).toBe("");
  expect(realpathSync(at("node_modules/.bin/node"))).toBe(at(RUNTIME));
  expect(start("bin/own-node")).toBe("");
});

test("an installation that fails ends the command with npm's own status", () => {
  program("path/npm", "exit 7");
  expect(() => start("bin/own-node")).toThrow(expect.objectContaining({ status: 7 }));
  expect(existsSync(at("node_modules"))).toBe(false);
});

test("latchkey itself takes the project's Node without the link as well, never the machine's", () => {
  program(RUNTIME, 'echo own "$1"');
  program("path/node", "echo the machine's");
  expect(start("bin/latchkey", "--help")).toBe("own --disable-sigusr1\n");
});

test("every command that a newcomer begins with sees to its Node first", () => {
  const { scripts } = JSON.parse(readFileSync(join(PROJECT, "package.json"), "utf8")) as {
    readonly scripts: Readonly<Record<string, string>>;
  };
  const first = ["build", "test", "demo", "bench"];
  expect(first.filter((name) => !scripts[name]?.startsWith("bin/own-node && node "))).toEqual([]);
});
