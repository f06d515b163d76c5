import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-log-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Runs a program that has a logger `log` and can put a file in the place of standard error; what it printed. */
function run(body: string): string {
  const url = new URL("../../src/core/log.ts", import.meta.url).href;
  const program = `
    import { closeSync, openSync } from "node:fs";
    const errorsTo = (path) => { closeSync(2); if (openSync(path, "a") !== 2) throw new Error("not standard error"); };
    const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    const file = ${JSON.stringify(join(directory, "log"))};
    const { createLogger } = await import(${JSON.stringify(url)});
    ${body}
    process.stdout.write("lived");`;
  const flags = ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", program];
  return execFileSync(process.execPath, flags, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

const lines = () =>
  readFileSync(join(directory, "log"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line): unknown => JSON.parse(line));

test("a full disk below the log ends nobody, and says how much is missing when there is room again", () => {
  const printed = run(`
    errorsTo("/dev/full");
    const log = createLogger("master", "info");
    for (let n = 0; n < 3; n += 1) { log.info({ n }, "lost"); await turn(); }
    log.info("lost"); log.info("x".repeat(40_000));
    errorsTo(file);
    log.info("there"); await turn();
    log.info("again"); await turn();`);
  expect(printed).toBe("lived");
  expect(lines()).toMatchObject([
    { level: 40, name: "master", dropped: 5 },
    { name: "master", msg: "there" },
    { name: "master", msg: "again" },
  ]);
});

test("a log that is closed, or full to the end, ends nobody either", () => {
  expect(run(`closeSync(2); const log = createLogger("minion", "info"); log.info("x"); await turn();`)).toBe("lived");
  expect(run(`errorsTo("/dev/full"); createLogger("minion", "info").info("the last words");`)).toBe("lived");
});

test("what a turn logs is in the log in order, whole, also at the end of the process", () => {
  run(`
    errorsTo(file);
    const log = createLogger("master", "info");
    for (let n = 0; n < 2000; n += 1) log.info({ n, pad: "x".repeat(100) }, "said");
    log.info({ n: 2000 }, "last");
    process.exit(0);`);
  expect(lines().map((line) => (line as { n: number }).n)).toEqual(Array.from({ length: 2001 }, (_, n) => n));
});
