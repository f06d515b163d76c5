import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { guardProcess, opensDebugger } from "../../../src/core/process-guard.ts";

test.each([
  [["--inspect"], true],
  [["--no-warnings", "--inspect-brk=0.0.0.0:9229"], true],
  [["--inspect_wait"], true],
  [["--inspect=127.0.0.1:0"], true],
  [["--inspect-port=0", "--disable-sigusr1"], false],
  [["--max-semi-space-size=32"], false],
  [[], false],
])("flags %j open a debugger: %s", (words, opens) => {
  expect(opensDebugger(words)).toBe(opens);
});

test.each([
  [["--inspect"], ""],
  [[], '--no-warnings "--inspect=127.0.0.1:0"'],
])("no latchkey process begins with a debugger open: %j, NODE_OPTIONS=%s", (flags, options) => {
  expect(() => guardProcess(flags, options)).toThrow("Node was told to open a debugger");
});

test.runIf(process.getuid?.() === 0)(
  "I5: after refuseTracers a process is not dumpable: its /proc files are root's (proc(5))",
  () => {
    const module = resolve(import.meta.dirname, "../../../src/core/process-guard.ts");
    // not root, but allowed to change groups: root's own files look the same either way
    const script = `import { statSync } from "node:fs";
    const owner = () => statSync("/proc/self/environ").uid;
    const { refuseTracers } = await import(${JSON.stringify(module)});
    console.log(JSON.stringify([owner(), refuseTracers(), process.getegid(), owner()]));`;
    const as = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+setgid", "--ambient-caps=+setgid"];
    const node = [process.execPath, "--no-warnings", "--input-type=module", "-e", script];
    const printed = execFileSync("setpriv", [...as, ...node], { encoding: "utf8" });
    expect(JSON.parse(printed)).toEqual([65_534, true, 65_534, 0]);
  },
);
