import { afterEach, describe, expect, test } from "vitest";
import type { JobEvent, JobRequest } from "../../src/core/control-api.ts";
import { type FakeMaster, type Script, startFakeMaster } from "./fake-master.ts";
import { runCli, spawnCli, transcriptOf } from "./run-cli.ts";

const JID = "20261122160047123456";
const masters: FakeMaster[] = [];
afterEach(async () => {
  await Promise.all(masters.splice(0).map((master) => master.close()));
});

async function master(script: Script): Promise<FakeMaster> {
  const started = await startFakeMaster(script);
  masters.push(started);
  return started;
}

const start = (targets: readonly string[], offline: readonly string[] = []): JobEvent => ({
  event: "start",
  jid: JID,
  targets,
  offline,
});
const returned = (id: string, more: Partial<JobEvent & { event: "return" }> = {}): JobEvent => ({
  event: "return",
  id,
  fun: "test.ping",
  success: true,
  retcode: 0,
  data: true,
  durationMs: 3,
  ...more,
});
const end = (succeeded: number, failed = 0, missing = 0): JobEvent => ({ event: "end", succeeded, failed, missing });

async function requestFor(argv: readonly string[]): Promise<JobRequest | undefined> {
  let seen: JobRequest | undefined;
  const { socket } = await master({
    job: (request) => {
      seen = request;
      return [start(["web1"]), returned("web1"), end(1)];
    },
  });
  await runCli(argv, { socket });
  return seen;
}

describe("what is asked of the master", () => {
  test.each<[string, readonly string[], Partial<JobRequest>]>([
    ["a glob", ["run", "web*", "test.ping"], { target: { kind: "glob", expr: "web*" }, fun: "test.ping" }],
    ["a list", ["run", "-L", "a,b", "test.ping"], { target: { kind: "list", expr: "a,b" } }],
    ["a grain", ["run", "role:db", "test.ping", "--grain"], { target: { kind: "grain", expr: "role:db" } }],
    ["highstate in test mode", ["highstate", "db1", "--test"], { fun: "state.highstate", kwargs: { test: true } }],
    [
      "state files with commas",
      ["apply", "db1", "luks,motd", "a"],
      { fun: "state.apply", args: ["luks", "motd", "a"] },
    ],
    ["state files", ["apply", "db1", "luks", "web.nginx"], { fun: "state.apply", args: ["luks", "web.nginx"] }],
    [
      "arguments",
      ["run", "db1", "x.y", "3", "0644", "a b", "on=true", 'l=["a"]', "--", "-v"],
      { args: [3, "0644", "a b", "-v"], kwargs: { on: true, l: ["a"] } },
    ],
    ["a timeout", ["run", "db1", "test.ping", "--timeout", "2m"], { timeoutMs: 120_000 }],
  ])("%s", async (_, argv, expected) => {
    expect(await requestFor(argv)).toMatchObject(expected);
  });
});

describe("returns", () => {
  test("text, one block a host, exit status 0 when all succeeded", async () => {
    const { socket } = await master({ job: () => [start(["a", "b"]), returned("a"), returned("b"), end(2)] });
    expect(await runCli(["run", "*", "test.ping"], { socket })).toEqual({
      stdout: "a:\n    True\nb:\n    True\n",
      stderr: "",
      status: 0,
    });
  });

  test("hosts known to be offline are named at once, and the exit status is 1", async () => {
    const { socket } = await master({ job: () => [start(["a", "b"], ["b"]), returned("a"), end(1, 0, 1)] });
    expect(await runCli(["run", "*", "test.ping"], { socket })).toEqual({
      stdout: "b:\n    Minion did not return. [Not connected]\na:\n    True\n",
      stderr: "",
      status: 1,
    });
  });

  test("a host that goes silent is told with the reason", async () => {
    const missing: JobEvent = { event: "missing", id: "b", reason: "no sign of life for 30 s" };
    const { socket } = await master({ job: () => [start(["a", "b"]), returned("a"), missing, end(1, 0, 1)] });
    const { stdout, status } = await runCli(["run", "*", "test.ping"], { socket });
    expect(stdout).toBe("a:\n    True\nb:\n    Minion did not return. [no sign of life for 30 s]\n");
    expect(status).toBe(1);
  });

  test("json: one object with every host, which parses", async () => {
    const job = () => [start(["a", "b"], ["b"]), returned("a", { data: { x: [1, "\u001b[2J"] } }), end(1, 0, 1)];
    const { socket } = await master({ job });
    const { stdout, stderr } = await runCli(["run", "*", "x.y", "--out", "json"], { socket });
    expect(stderr).toBe("offline, not waited for: b\n");
    expect(JSON.parse(stdout)).toEqual({ b: "Minion did not return. [Not connected]", a: { x: [1, "\u001b[2J"] } });
    expect(stdout).not.toContain("\u001b");
  });

  test("jsonl: a line a host, as they come", async () => {
    const { socket } = await master({ job: () => [start(["a", "b"]), returned("b"), returned("a"), end(2)] });
    const { stdout } = await runCli(["run", "*", "x.y", "--out", "jsonl"], { socket });
    expect(stdout).toBe('{"b":true}\n{"a":true}\n');
  });

  test("yaml", async () => {
    const { socket } = await master({
      job: () => [start(["a"]), returned("a", { data: { on: "yes", count: 1 } }), end(1)],
    });
    const { stdout } = await runCli(["run", "a", "x.y", "--out", "yaml"], { socket });
    expect(stdout).toBe('a:\n  "on": "yes"\n  count: 1\n');
  });

  test("lesson: 2025-22239 what a minion says never steers the operator's terminal", async () => {
    const evil = "\u001b]0;owned\u0007\u001b[2J\u009b31m\u202egnp.exe\r\nok";
    const job = () => [start(["a"]), returned("a", { data: { [evil]: evil } }), end(1)];
    const { socket } = await master({ job });
    const { stdout } = await runCli(["run", "a", "x.y"], { socket });
    // eslint-disable-next-line no-control-regex
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/u);
    expect(stdout).toContain(String.raw`\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe`);
  });

  test("a host that is named and not accepted is a row of its own, and the status says so", async () => {
    const reason = "no accepted minion of that id";
    const job = () => [
      start(["a", "typo"]),
      { event: "missing", id: "typo", reason } as const,
      returned("a"),
      end(1, 0, 1),
    ];
    const { socket } = await master({ job });
    expect(await runCli(["run", "-L", "a,typo", "test.ping"], { socket })).toEqual({
      stdout: `typo:\n    Minion did not return. [${reason}]\na:\n    True\n`,
      stderr: "",
      status: 1,
    });
  });

  test("no match is an error with a hint", async () => {
    const { socket } = await master({ job: () => [start([]), end(0)] });
    expect(await runCli(["run", "nope", "test.ping"], { socket })).toEqual({
      stdout: "",
      stderr:
        "latchkey: cannot run: no accepted minion matches the target\nhint: see which there are with `latchkey status`\n",
      status: 2,
    });
  });

  test("a master that dies in the middle is an error that names the job", async () => {
    const { socket } = await master({ job: () => [start(["a", "b"]), returned("a"), "cut"] });
    const { stdout, stderr, status } = await runCli(["run", "*", "test.ping"], { socket });
    expect(stdout).toBe("a:\n    True\n");
    expect(stderr).toContain(`job ${JID} goes on`);
    expect(status).toBe(4);
  });

  test.each(["garbage\n", "[1]\n", '{"event":"return"'])("an answer that is no event (%j) is refused", async (raw) => {
    const { socket } = await master({ job: () => [start(["a"]), raw] });
    const { stderr, status } = await runCli(["run", "*", "test.ping"], { socket });
    expect(stderr).toContain("latchkey: cannot");
    expect([4, 6]).toContain(status);
  });
});

describe("on a terminal", () => {
  test("a progress line is drawn and taken away", async () => {
    const progress: JobEvent = { event: "progress", id: "a", done: 2, total: 10, current: "luks.opened data" };
    const { socket } = await master({ job: () => [start(["a"]), progress, returned("a"), end(1)] });
    const { stdout, stderr } = await runCli(["highstate", "a"], { socket, isTerminal: true });
    const lines = stderr.split("\r\u001b[K");
    expect(lines[1]).toMatch(/^0\/1 returned {2}\d+ ms {2}a: luks\.opened data \(2\/10\)$/u);
    expect(lines.at(-1)).toBe("");
    expect(stdout).toBe("\u001b[36ma:\u001b[0m\n    \u001b[33mTrue\u001b[0m\n");
  });

  test("NO_COLOR is honoured", async () => {
    const { socket } = await master({ job: () => [start(["a"]), returned("a"), end(1)] });
    const { stdout } = await runCli(["run", "a", "test.ping"], { socket, isTerminal: true, env: { NO_COLOR: "1" } });
    expect(stdout).toBe("a:\n    True\n");
  });
});

describe("as a process", () => {
  test("SIGINT leaves the job running, says so, and ends with 130", async () => {
    const fake = await master({ job: () => [start(["a"])], hang: true });
    const child = spawnCli(["run", "a", "test.sleep", "100"], { LATCHKEY_SOCKET: fake.socket });
    const transcript = transcriptOf(child);
    await expect.poll(() => fake.requests.length, { timeout: 60_000 }).toBe(1);
    child.kill("SIGINT");
    await fake.hungUp;
    const { stderr, status } = await transcript;
    expect(status).toBe(130);
    expect(stderr).toMatch(/^(job \d{20} goes on at the hosts that have it\n)?$/u);
  });

  test("a reader that goes away ends it quietly, as SIGPIPE would", async () => {
    const many = Array.from({ length: 3000 }, (_, n) => returned(`web${n}`, { data: "x".repeat(200) }));
    const fake = await master({ job: () => [start(["a"]), ...many, end(3000)] });
    const child = spawnCli(["run", "*", "test.ping"], { LATCHKEY_SOCKET: fake.socket });
    child.stdout?.once("data", () => child.stdout?.destroy());
    const { stderr, status } = await transcriptOf(child);
    expect({ stderr, status }).toEqual({ stderr: "", status: 141 });
  });
});
