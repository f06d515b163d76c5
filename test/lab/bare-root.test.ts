import { afterAll, beforeAll, expect, test } from "vitest";
import { BareRun, whyNoBareRoot } from "./bare-root/bare-run.ts";

const MINUTES = 60_000;
/** A machine without caches fetches Debian's packages and npm's over a slow network. */
const MOST_MS = 25 * MINUTES;

let obstacle: string | undefined;
beforeAll(async () => {
  obstacle = await whyNoBareRoot();
  if (obstacle !== undefined) {
    console.error(`\n!! SKIPPED: the README's commands were not tried in a bare Debian. ${obstacle}\n`);
  }
});
const runs: BareRun[] = [];
afterAll(() => {
  for (const run of runs) run.remove();
});

async function bareRun(home: string): Promise<BareRun> {
  const run = await BareRun.create(home);
  runs.push(run);
  return run;
}

/** Each command with its exit status and its time on a line of its own after what it printed. */
const commands = (...lines: readonly string[]): string =>
  lines
    .map((line) => `echo "$ ${line}"; began=$(date +%s); ${line} 2>&1; echo "status $? ($(($(date +%s) - began)) s)"`)
    .join("\n");

const statuses = (said: string): readonly number[] =>
  [...said.matchAll(/^status (\d+) /gmu)].map(([, status]) => Number(status));

const lastLines = (said: string): string => said.split("\n").slice(-60).join("\n");

test.concurrent(
  "the README's commands work in a bare Debian for root",
  { timeout: MOST_MS },
  async ({ skip, onTestFailed }) => {
    if (obstacle !== undefined) skip(obstacle);
    const run = await bareRun("root");
    const tests = "npm test -- unit vectors contract cli";
    const said = await run.do(
      "root",
      `export HOME=/root; cd /root/latchkey\n${commands("npm ci", "npm run demo", tests)}`,
    );
    onTestFailed(() => console.error(lastLines(said)));
    expect(statuses(said)).toEqual([0, 0, 0]);
    expect(said).toContain("the row is still there:");
    expect(said).toMatch(/^\d{4,} passed, 0 failed, \d+ skipped$/mu);
    expect(said).not.toContain("!! ");
  },
);

test.concurrent(
  "without root the same commands say what to install, and run what can run",
  { timeout: MOST_MS },
  async ({ skip, onTestFailed }) => {
    if (obstacle !== undefined) skip(obstacle);
    const run = await bareRun("home/newcomer");
    const said = await run.do(
      "newcomer",
      [
        "useradd --home-dir /home/newcomer --shell /bin/sh newcomer && chown -R newcomer: /home/newcomer",
        `exec setpriv --reuid newcomer --regid newcomer --init-groups sh -c '
        export HOME=/home/newcomer; cd /home/newcomer/latchkey
        ${commands("npm ci", "npm run demo", "npm test -- vectors cli kernel lab")}'`,
      ].join("\n"),
    );
    onTestFailed(() => console.error(lastLines(said)));
    expect(statuses(said)).toEqual([0, 3, 0]);
    expect(said).toMatch(/needs root .*run this as root/u);
    expect(said).toMatch(/as root: apt-get update && apt-get install -y .*\bage\b/u);
    expect(said).toMatch(/!! SKIPPED: the kernel tests did not run/u);
    expect(said).toMatch(/!! SKIPPED: the lab tests did not run/u);
    expect(said).toMatch(/^\d{3,} passed, 0 failed, \d+ skipped$/mu);
  },
);
