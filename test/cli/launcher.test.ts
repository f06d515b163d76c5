import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

const LAUNCHER = resolve(import.meta.dirname, "../../bin/latchkey");
const NODE_MADE = 1_700_000_000;
const BUILT = NODE_MADE + 1000;

let tree = "";
const at = (name: string) => join(tree, name);

/** An installed tree whose Node only prints what it is started with. */
beforeEach(() => {
  tree = realpathSync(mkdtempSync(join(tmpdir(), "latchkey-launcher-")));
  for (const folder of ["bin", "dist", "node_modules/.bin"]) mkdirSync(at(folder), { recursive: true });
  copyFileSync(LAUNCHER, at("bin/latchkey"));
  writeFileSync(at("node_modules/.bin/node"), '#!/bin/sh\nprintf "%s\\n" "$@"\n');
  for (const name of ["dist/latchkey.mjs", "dist/minion.blob"]) writeFileSync(at(name), "");
  for (const name of ["bin/latchkey", "node_modules/.bin/node"]) chmodSync(at(name), 0o755);
});

afterEach(() => {
  rmSync(tree, { recursive: true });
});

function start(times: { readonly node: number; readonly blob: number; readonly bundle: number }, args: string[]) {
  utimesSync(at("node_modules/.bin/node"), times.node, times.node);
  utimesSync(at("dist/minion.blob"), times.blob, times.blob);
  utimesSync(at("dist/latchkey.mjs"), times.bundle, times.bundle);
  return execFileSync(at("bin/latchkey"), args, { encoding: "utf8" }).trim().split("\n");
}

const asBuilt = { node: NODE_MADE, blob: NODE_MADE, bundle: BUILT };

test.each([["minion"], ["minion -c /etc/m.yaml"], ["minion --config /etc/m.yaml"]])(
  "latchkey %s begins with the snapshot that its Node made",
  (line) => {
    const [guard, flag, blob, , ...rest] = start(asBuilt, line.split(" "));
    expect([guard, flag, blob && realpathSync(blob), rest.join(" ")]).toEqual([
      "--disable-sigusr1",
      "--snapshot-blob",
      at("dist/minion.blob"),
      line,
    ]);
  },
);

test.each([["minion --help"], ["status"], ["master --config /etc/m.yaml"], ["minion --config /etc/m.yaml extra"]])(
  "latchkey %s begins without the snapshot",
  (line) => {
    expect(start(asBuilt, line.split(" "))).not.toContain("--snapshot-blob");
  },
);

test.each([
  ["a newer Node", { ...asBuilt, node: NODE_MADE + 1 }],
  ["an older Node", { ...asBuilt, node: NODE_MADE - 1 }],
  ["times that were all made alike", { node: NODE_MADE, blob: NODE_MADE, bundle: NODE_MADE }],
  ["a snapshot that was copied without its time", { ...asBuilt, blob: BUILT + 1 }],
])("with %s a minion begins without the snapshot", (_, times) => {
  expect(start(times, ["minion"])).not.toContain("--snapshot-blob");
});

test("without a snapshot a minion begins from the bundle", () => {
  rmSync(at("dist/minion.blob"));
  writeFileSync(at("dist/other"), "");
  utimesSync(at("dist/latchkey.mjs"), BUILT, BUILT);
  expect(execFileSync(at("bin/latchkey"), ["minion"], { encoding: "utf8" })).toMatch(/dist\/latchkey\.mjs\nminion\n$/u);
});

/** What a shell may have that would let somebody into the process, or have it believe what it should not. */
const HOSTILE = {
  NODE_OPTIONS: "--inspect=127.0.0.1:0 --require=/tmp/x.js",
  NODE_PATH: "/tmp",
  NODE_TLS_REJECT_UNAUTHORIZED: "0",
  NODE_COMPILE_CACHE: "/tmp/planted",
  NODE_V8_COVERAGE: "/tmp",
  OPENSSL_CONF: "/tmp/openssl.cnf",
  OPENSSL_MODULES: "/tmp",
};

test.each([["minion"], ["master"], ["call test.ping"], ["status"]])(
  "latchkey %s opens no debugger at SIGUSR1, and takes nothing for Node or OpenSSL from the shell it was started in",
  (line) => {
    writeFileSync(at("node_modules/.bin/node"), '#!/bin/sh\nprintf "%s\\n" "$@"\nenv\n');
    for (const sources of [false, true]) {
      if (sources) rmSync(at("dist/latchkey.mjs"));
      const words = execFileSync(at("bin/latchkey"), line.split(" "), {
        encoding: "utf8",
        env: { ...process.env, ...HOSTILE },
      }).split("\n");
      expect(words).toContain("--disable-sigusr1");
      for (const [name, value] of Object.entries(HOSTILE)) expect(words).not.toContain(`${name}=${value}`);
    }
  },
);

test("compiled code is taken from where a unit says only if that is this user's and nobody else may write there", () => {
  writeFileSync(at("node_modules/.bin/node"), "#!/bin/sh\nenv\n");
  const cacheWith = (mode: number) => {
    mkdirSync(at("cache"), { recursive: true });
    chmodSync(at("cache"), mode);
    const env = { ...process.env, LATCHKEY_CODE_CACHE: at("cache") };
    const lines = execFileSync(at("bin/latchkey"), ["status"], { encoding: "utf8", env }).split("\n");
    return lines.find((line) => line.startsWith("NODE_COMPILE_CACHE="));
  };
  expect(cacheWith(0o700)).toBe(`NODE_COMPILE_CACHE=${at("cache")}`);
  expect(cacheWith(0o770)).toMatch(/\/dist\/\.compile-cache$/u);
  expect(cacheWith(0o1777)).toMatch(/\/dist\/\.compile-cache$/u);
});
