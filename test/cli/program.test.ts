import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import type { CallRequest, MasterRequest, Rooms } from "../../src/cli/rooms.ts";
import type { MasterStatus } from "../../src/core/control-api.ts";
import { AuthError } from "../../src/core/errors.ts";
import { VERSION } from "../../src/core/version.ts";
import { type FakeMaster, type Script, startFakeMaster } from "./fake-master.ts";
import { runCli, spawnCli, transcriptOf } from "./run-cli.ts";

let fake: FakeMaster | undefined;
afterEach(() => fake?.close());

async function start(script: Script): Promise<string> {
  fake = await startFakeMaster(script);
  return fake.socket;
}

describe("usage", () => {
  test("no words print the help", async () => {
    const { stdout, status } = await runCli([]);
    expect(stdout).toMatch(/^Usage: latchkey \[options\] \[command\]\n/u);
    expect(stdout).toContain("First steps:");
    expect(status).toBe(0);
  });

  test.each([
    ["--help"],
    ["keys"],
    ["run", "--help"],
    ["help", "apply"],
    ["help", "keys", "list"],
    ["pillar", "edit", "--help"],
  ])("help: %s %s %s", async (...argv) => {
    const { stdout, stderr } = await runCli(argv);
    const text = stdout + stderr;
    expect(text).toContain("Usage: latchkey");
    expect(text.endsWith("\n")).toBe(true);
    expect(text.split("\n").filter((line) => line.length > 120)).toEqual([]);
  });

  test.each(["keys", "pillar", "volume", "secret", "jobs"])(
    "%s alone is its help, and no error line",
    async (group) => {
      const { stdout, stderr, status } = await runCli([group]);
      expect(stdout + stderr).toMatch(new RegExp(`^Usage: latchkey ${group} `, "u"));
      expect(stdout + stderr).not.toContain("latchkey: ");
      expect(status).toBe(2);
    },
  );

  test("the help of call says where states and pillar are by default", async () => {
    const { stdout } = await runCli(["call", "--help"]);
    expect(stdout).toContain("/srv/latchkey and /srv/salt");
    expect(stdout).not.toContain("default: []");
  });

  test("help of a command below a command is that one's", async () => {
    expect((await runCli(["help", "keys", "list"])).stdout).toMatch(/^Usage: latchkey keys list /u);
  });

  test.each<[string, readonly string[], string]>([
    [
      "help of an unknown command",
      ["help", "hihgstate"],
      "latchkey: unknown command 'hihgstate'\n(Did you mean highstate?)\n",
    ],
    ["the same below a command", ["help", "keys", "lits"], "latchkey: unknown command 'lits'\n(Did you mean list?)\n"],
    ["an unknown command", ["hihgstate", "x"], "latchkey: unknown command 'hihgstate'\n(Did you mean highstate?)\n"],
    ["an unknown option", ["status", "--jsno"], "latchkey: unknown option '--jsno'\n(Did you mean --json?)\n"],
    [
      "a missing argument",
      ["run", "x"],
      "latchkey: missing required argument 'function'\nhint: see `latchkey run --help`\n",
    ],
    [
      "roots without --local",
      ["call", "--file-root", "a", "test.ping"],
      "latchkey: cannot use --file-root and --pillar-root with a master's trees\nhint: add --local\n",
    ],
    ["a path among several SLS", ["apply", "x", "a,../etc"], 'latchkey: cannot apply "../etc": not the name'],
    [
      "an unknown format",
      ["status", "--out", "xml"],
      'latchkey: cannot print as "xml"\nhint: known formats: text, json',
    ],
    ["both targets", ["run", "-L", "-G", "x", "y"], "latchkey: cannot use both -L and -G"],
    ["an empty target", ["run", "", "y"], "latchkey: cannot use an empty target\nhint: "],
    [
      "a path for an SLS",
      ["apply", "x", "../etc"],
      'latchkey: cannot apply "../etc": not the name of a state file\nhint: ',
    ],
    ["a bad duration", ["run", "x", "y", "-t", "soon"], 'latchkey: cannot read duration "soon"\nhint: '],
    ["a bad id", ["pillar", "edit", "../x"], 'latchkey: cannot use minion id "../x"'],
  ])("%s: said once, exit status 2", async (_, argv, message) => {
    const { stdout, stderr, status } = await runCli(argv, { socket: "/nonexistent" });
    expect(stderr.slice(0, message.length)).toBe(message);
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });

  test("the version is the package's", async () => {
    const manifest = JSON.parse(readFileSync(resolve(import.meta.dirname, "../../package.json"), "utf8")) as object;
    expect(manifest).toMatchObject({ version: VERSION });
    expect((await runCli(["--version"])).stdout).toBe("1.2.3\n");
  });
});

describe("errors", () => {
  test("no master: where it was looked for, and what to do", async () => {
    expect(await runCli(["status"], { socket: "/nonexistent/master.sock" })).toEqual({
      stdout: "",
      stderr:
        'latchkey: cannot reach the master at "/nonexistent/master.sock": no such socket\n' +
        "hint: start the master with `latchkey master`, or name its socket with --socket\n",
      status: 4,
    });
  });

  test("--socket wins over LATCHKEY_SOCKET", async () => {
    const { stderr } = await runCli(["--socket", "/nonexistent/a", "status"], { socket: "/nonexistent/b" });
    expect(stderr).toContain('"/nonexistent/a"');
  });

  test("the master's refusal: its message, hint and exit status, made safe", async () => {
    const error = { code: "x", message: "cannot do: \u001b[2Jno", hint: "try \u0007later", exitStatus: 5 };
    const socket = await start({ refuse: () => ({ httpStatus: 403, error }) });
    expect(await runCli(["status"], { socket })).toEqual({
      stdout: "",
      stderr: String.raw`latchkey: cannot do: \x1b[2Jno
hint: try \x07later
`,
      status: 5,
    });
  });

  test("as a process: the exit status is the error's", async () => {
    const child = spawnCli(["keys", "list"], { LATCHKEY_SOCKET: "/nonexistent" });
    expect(await transcriptOf(child)).toMatchObject({ stdout: "", status: 4 });
  });
});

describe("status", () => {
  const now = Date.now();
  const STATUS: MasterStatus = {
    version: "0.1.0",
    fingerprint: "aa:bb",
    startedAt: now - 7_300_000,
    returnPort: 4506,
    connections: { sessions: 1, strangers: 2, most: 768 },
    drops: { garbage: 3, replayed: 0 },
    audit: { seq: 7, failing: null },
    nextBootFails: [],
    stuckErasures: [],
    minions: [
      {
        id: "web1",
        connected: false,
        since: 0,
        address: "",
        version: "",
        running: [],
        lastHighstate: null,
      },
      {
        id: "db1",
        connected: true,
        since: now - 300_000,
        address: "192.0.2.7",
        version: "0.1.0",
        running: [{ jid: "20261122160047123456", fun: "state.highstate", since: now - 180_000 }],
        lastHighstate: {
          jid: "20261122160047123456",
          finishedAt: now,
          success: false,
          startup: true,
          succeeded: 9,
          changed: 2,
          failed: 1,
        },
      },
    ],
  };

  test("a table of who is connected, since when, and the last highstate", async () => {
    const socket = await start({ status: () => STATUS });
    const { stdout, status } = await runCli(["status"], { socket });
    const lines = stdout.split("\n");
    expect(lines[0]).toBe("master 0.1.0, up 2 h, port 4506, fingerprint aa:bb");
    expect(lines.slice(1, 5)).toEqual([
      "connections: 1 with a session, 2 without, room for 768",
      "frames dropped, connections cut off: garbage 3",
      "1 of 2 minions connected",
      "",
    ]);
    expect(lines[6]).toMatch(
      /^db1 {5}connected {2}5 min {2}192\.0\.2\.7 {2}state\.highstate for 3 min {2}.* \(startup\) {2}1 of 10 failed, 2 changed$/u,
    );
    expect(lines[7]?.split(/ +/u)).toEqual(["web1", "offline", "never", "-", "-", "-", "-"]);
    expect(status).toBe(0);
  });

  test("whose next boot would fail, before it happens, with the age of what is known", async () => {
    const problems = [{ code: "key-does-not-open", text: "the stored key does not open this volume" }];
    const nextBootFails = [{ id: "db1", volume: "data", heardAt: now - 5 * 3_600_000, problems }];
    const socket = await start({ status: () => ({ ...STATUS, nextBootFails }) });
    const { stdout } = await runCli(["status"], { socket });
    expect(stdout.split("\n").slice(-5)).toEqual([
      "",
      "the next boot of 1 host would fail:",
      "VOLUME    REPORTED  BECAUSE",
      "db1/data  5 h ago   the stored key does not open this volume",
      "",
    ]);
  });

  test("a volume that cannot be erased for good yet, and why", async () => {
    const stuckErasures = [{ id: "db1", volume: "data", reason: "cannot scrub the store: disk is full" }];
    const socket = await start({ status: () => ({ ...STATUS, stuckErasures }) });
    const { stdout } = await runCli(["status"], { socket });
    expect(stdout.split("\n")[2]).toBe(
      "erase: db1/data is not erased for good yet, and is tried again: cannot scrub the store: disk is full",
    );
  });

  test("as JSON it is the master's own answer", async () => {
    const socket = await start({ status: () => STATUS });
    expect(JSON.parse((await runCli(["status", "--json"], { socket })).stdout)).toEqual(STATUS);
  });
});

test("pillar show of a host that was never seen says so", async () => {
  const socket = await start({ pillar: (id) => ({ id, pillar: { a: 1 }, unknown: true }) });
  expect(await runCli(["pillar", "show", "db9"], { socket })).toMatchObject({
    stdout: expect.stringContaining("db9:"),
    stderr: "no minion key of that id: a host named db9 would get this\n",
    status: 0,
  });
});

test("pillar show prints the compiled pillar, secrets as references", async () => {
  const socket = await start({ pillar: (id) => ({ id, pillar: { password: "secret:password", vg_name: "data" } }) });
  expect((await runCli(["pillar", "show", "db1"], { socket })).stdout).toBe(
    "db1:\n    ----------\n    password:\n        secret:password\n    vg_name:\n        data\n",
  );
  const { stdout } = await runCli(["pillar", "show", "db1", "--out", "yaml"], { socket });
  expect(stdout).toBe("password: secret:password\nvg_name: data\n");
});

test("events are printed a line each", async () => {
  const socket = await start({ events: () => [{ at: 0, tag: "key/pending", data: { id: "x\u001b" } }] });
  expect((await runCli(["events"], { socket })).stdout).toBe(String.raw`never  key/pending  {"id":"x\u001b"}` + "\n");
  expect(JSON.parse((await runCli(["events", "--json"], { socket })).stdout)).toMatchObject({
    data: { id: "x\u001b" },
  });
});

describe("call", () => {
  const answering = (more: object = {}) => {
    const requests: CallRequest[] = [];
    const call = (request: CallRequest) => {
      requests.push(request);
      return Promise.resolve({ id: "db1", fun: request.fun, success: true, data: true, ...more });
    };
    return { requests, rooms: { call } };
  };

  test("hands everything over, and prints this machine as local", async () => {
    const { requests, rooms } = answering();
    const argv = "call --local --file-root a --file-root b --pillar-root p --id h --test state.apply luks x=1".split(
      " ",
    );
    expect(await runCli(argv, { rooms })).toEqual({ stdout: "local:\n    True\n", stderr: "", status: 0 });
    expect(requests).toEqual([
      {
        fun: "state.apply",
        args: ["luks"],
        kwargs: { x: 1, test: true },
        config: undefined,
        local: true,
        fileRoots: ["a", "b"],
        pillarRoots: ["p"],
        id: "h",
      },
    ]);
  });

  test("on a terminal it says what it does or waits for, and takes that away before the answer", async () => {
    const rooms: Partial<Rooms> = {
      call: (_request, _signal, { doing }) => {
        doing("waiting: state.apply (job 2026) as PID 7 since 12:00");
        return Promise.resolve({ id: "db1", fun: "test.ping", success: true, data: true });
      },
    };
    const { stderr } = await runCli(["call", "test.ping"], { rooms, isTerminal: true });
    expect(stderr.split("\r\u001b[K")).toEqual([
      "",
      expect.stringMatching(/^\d+ ms {2}waiting: state\.apply \(job 2026\) as PID 7 since 12:00$/u),
      "",
    ]);
    expect((await runCli(["call", "test.ping"], { rooms })).stderr).toBe("");
  });

  test("json, and status 1 when it failed", async () => {
    const { rooms } = answering({ success: false, data: "no" });
    const { stdout, status } = await runCli(["call", "test.x", "--out", "json"], { rooms });
    expect(JSON.parse(stdout)).toEqual({ local: "no" });
    expect(status).toBe(1);
  });

  test("what the room throws is reported with its exit status", async () => {
    const call = () => Promise.reject(new AuthError("refused", "cannot join: the master refused"));
    const { stderr, status } = await runCli(["call", "test.ping"], { rooms: { call } });
    expect({ stderr, status }).toEqual({ stderr: "latchkey: cannot join: the master refused\n", status: 5 });
  });
});

test("the daemons get their configuration file, and end with their own status", async () => {
  const rooms = {
    master: ({ config, socketAccess }: MasterRequest) =>
      Promise.resolve(config === "m.yaml" && socketAccess === "group" ? 7 : 0),
  };
  expect((await runCli(["master", "-c", "m.yaml", "--socket-access", "group"], { rooms })).status).toBe(7);
});
