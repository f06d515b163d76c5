import { afterEach, describe, expect, test } from "vitest";
import type { KeyAction, KeyEntry } from "../../src/core/control-api.ts";
import { type FakeMaster, type Script, startFakeMaster } from "./fake-master.ts";
import { runCli } from "./run-cli.ts";

let fake: FakeMaster | undefined;
afterEach(() => fake?.close());

const entry = (id: string, state: KeyEntry["state"], fingerprint = `aa:bb:${id}`): KeyEntry => ({
  id,
  state,
  fingerprint,
  address: "192.0.2.7",
  firstSeen: Date.UTC(2026, 10, 22, 12),
  lastSeen: Date.UTC(2026, 10, 22, 12, 30),
});
const KEYS = [
  entry("web2", "accepted"),
  entry("web1", "pending"),
  entry("web1", "denied", "cc:dd"),
  entry("a", "accepted"),
];

async function start(script: Script): Promise<string> {
  fake = await startFakeMaster({ keys: () => KEYS, ...script });
  return fake.socket;
}

/** A master that notes the actions asked of it. */
async function startNoting(matched: readonly KeyEntry[] = [entry("web1", "pending")]) {
  const actions: KeyAction[] = [];
  const socket = await start({
    changeKeys: (action) => {
      actions.push(action);
      return matched;
    },
  });
  return { actions, socket };
}

describe("keys list", () => {
  test("shows who waits first, with whole fingerprints", async () => {
    const socket = await start({});
    const { stdout, status } = await runCli(["keys", "list"], { socket });
    const lines = stdout
      .split("\n")
      .map((line) => line.split(/ {2,}/u))
      .map(([id, state, from, , print]) => [id, state, from, print]);
    expect(lines.slice(0, 5)).toEqual([
      ["ID", "STATE", "FROM", "FINGERPRINT"],
      ["web1", "pending", "192.0.2.7", "aa:bb:web1"],
      ["a", "accepted", "192.0.2.7", "aa:bb:a"],
      ["web2", "accepted", "192.0.2.7", "aa:bb:web2"],
      ["web1", "denied", "192.0.2.7", "cc:dd"],
    ]);
    expect(status).toBe(0);
  });

  test("of one state, as JSON", async () => {
    const socket = await start({});
    const { stdout } = await runCli(["keys", "list", "denied", "--json"], { socket });
    expect(JSON.parse(stdout)).toEqual({ keys: [KEYS[2]] });
  });

  test("an unknown state is refused with those there are", async () => {
    const socket = await start({});
    expect(await runCli(["keys", "list", "open"], { socket })).toEqual({
      stdout: "",
      stderr: 'latchkey: cannot list "open" keys\nhint: states are pending, accepted, rejected, denied, barred\n',
      status: 2,
    });
  });

  test("nobody yet", async () => {
    const socket = await start({ keys: () => [] });
    expect((await runCli(["keys", "list"], { socket })).stdout).toBe("no keys\n");
  });
});

test("keys show tells all about an id, also who else asked for it", async () => {
  const socket = await start({});
  const { stdout } = await runCli(["keys", "show", "web1"], { socket });
  expect(stdout).toContain("fingerprint: aa:bb:web1\n");
  expect(stdout).toContain("fingerprint: cc:dd\n");
  expect((await runCli(["keys", "show", "nope"], { socket })).status).toBe(2);
});

describe("changing keys", () => {
  test("without a terminal and without --yes nothing is changed", async () => {
    const { actions, socket } = await startNoting();
    const { stdout, stderr, status } = await runCli(["keys", "accept", "web*"], { socket });
    expect(stdout).toBe("");
    expect(stderr).toContain("web1  pending  192.0.2.7");
    expect(stderr).toContain('latchkey: cannot ask "accept this key?": there is no terminal\nhint: add --yes');
    expect(status).toBe(2);
    expect(actions).toEqual([{ action: "accept", match: "web*", dryRun: true }]);
  });

  test("on a terminal it asks, and only yes is yes", async () => {
    const { actions, socket } = await startNoting();
    const no = await runCli(["keys", "delete", "web1"], { socket, answers: ["x"], env: { NO_COLOR: "1" } });
    expect(no.stderr).toMatch(/delete this key\? \[y\/N\] nothing changed\n$/u);
    expect(no.status).toBe(1);
    expect(actions.every(({ dryRun }) => dryRun)).toBe(true);
    const yes = await runCli(["keys", "delete", "web1"], { socket, answers: ["y"], env: { NO_COLOR: "1" } });
    expect(yes.stdout).toBe("deleted web1  aa:bb:web1\n");
    expect(yes.status).toBe(0);
    // the very key that was shown: one that comes meanwhile is not meant
    expect(actions.at(-1)).toEqual({
      action: "delete",
      match: "web1",
      dryRun: false,
      fingerprints: ["aa:bb:web1"],
    });
  });

  test("--yes does not ask", async () => {
    const { actions, socket } = await startNoting();
    expect(await runCli(["keys", "accept", "web1", "--yes"], { socket })).toEqual({
      stdout: "accepted web1  aa:bb:web1\n",
      stderr: "",
      status: 0,
    });
    expect(actions).toEqual([{ action: "accept", match: "web1", dryRun: false }]);
  });

  test("what matches nothing is an error", async () => {
    const { socket } = await startNoting([]);
    const { stderr, status } = await runCli(["keys", "reject", "nope*", "--yes"], { socket });
    expect(stderr).toContain('latchkey: cannot reject "nope*": no key that this applies to matches\nhint: ');
    expect(status).toBe(2);
  });
});

test("a key that was replaced between question and answer is not accepted, and that is said", async () => {
  const pending = [entry("web1", "pending"), entry("web2", "pending")];
  const socket = await start({
    changeKeys: ({ dryRun, fingerprints = [] }) =>
      (dryRun ? pending : [entry("web1", "pending", "ee:ff"), entry("web2", "pending")]).filter(
        ({ fingerprint }) => dryRun || fingerprints.includes(fingerprint),
      ),
  });
  const { stdout, stderr, status } = await runCli(["keys", "accept", "*"], { socket, answers: ["y"] });
  expect(stdout).toBe("accepted web2  aa:bb:web2\n");
  expect(stderr).toContain("1 of the keys shown changed meanwhile: look again\n");
  expect(status).toBe(1);
});
