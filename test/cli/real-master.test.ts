import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { KeyList, MasterStatus } from "../../src/core/control-api.ts";
import { spawnCli, type Transcript, transcriptOf } from "./run-cli.ts";

const WAIT = { timeout: 60_000, interval: 100 };
let scratch = "";
let socket = "";
const daemons: { readonly child: ChildProcess; readonly ended: Promise<Transcript> }[] = [];

const cli = (...argv: readonly string[]) => transcriptOf(spawnCli(argv, { LATCHKEY_SOCKET: socket }));

async function json<T>(...argv: readonly string[]): Promise<T> {
  const { stdout, stderr, status } = await cli(...argv, "--json");
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as T;
}

function startDaemon(...argv: readonly string[]) {
  const child = spawnCli(argv, {});
  const daemon = { child, ended: transcriptOf(child) };
  daemons.push(daemon);
  return daemon;
}

function startMinion(id: string, status: MasterStatus) {
  const directory = join(scratch, id);
  mkdirSync(directory);
  const config = {
    id,
    master: "127.0.0.1",
    master_port: status.returnPort,
    master_finger: status.fingerprint,
    state_dir: join(directory, "state"),
    run_dir: join(directory, "run"),
  };
  writeFileSync(join(directory, "minion.yaml"), JSON.stringify(config));
  return startDaemon("minion", "--config", join(directory, "minion.yaml"));
}

const isConnected = async (id: string) =>
  (await json<MasterStatus>("status")).minions.some((minion) => minion.id === id && minion.connected);

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "latchkey-real-"));
  socket = join(scratch, "run/master.sock");
  for (const name of ["states", "pillar"]) mkdirSync(join(scratch, name));
  writeFileSync(join(scratch, "states/hello.sls"), "hello:\n  test.succeed_with_changes: []\n");
  const config = {
    interface: "127.0.0.1",
    ret_port: 0,
    state_dir: join(scratch, "state"),
    socket,
    file_roots: { base: [join(scratch, "states")] },
    pillar_roots: { base: [join(scratch, "pillar")] },
  };
  writeFileSync(join(scratch, "master.yaml"), JSON.stringify(config));
  startDaemon("master", "--config", join(scratch, "master.yaml"));
  await vi.waitFor(() => json<MasterStatus>("status"), WAIT);
});

afterAll(async () => {
  for (const { child } of daemons) child.kill("SIGTERM");
  await Promise.all(daemons.map(({ ended }) => ended));
  rmSync(scratch, { recursive: true, force: true });
});

test("a minion's whole life, as the operator sees it", async () => {
  const status = await json<MasterStatus>("status");
  expect((await cli("keys", "list")).stdout).toBe("no keys\n");
  const minion = startMinion("web1", status);
  await expect
    .poll(async () => (await json<KeyList>("keys", "list")).keys.map(({ state }) => state), WAIT)
    .toEqual(["pending"]);

  const [key] = (await json<KeyList>("keys", "show", "web1")).keys;
  const accepted = await cli("keys", "accept", "web*", "--yes", "--fingerprint", key?.fingerprint ?? "");
  expect(accepted).toEqual({ stdout: `accepted web1  ${key?.fingerprint}\n`, stderr: "", status: 0 });
  await expect.poll(() => isConnected("web1"), WAIT).toBe(true);

  expect(await cli("run", "*", "test.ping")).toEqual({ stdout: "web1:\n    True\n", stderr: "", status: 0 });
  const unknown = await cli("run", "web1", "test.pong");
  expect(unknown.stdout).toMatch(/^web1:\n {4}.*test\.p[io]ng/u);
  expect(unknown.status).toBe(1);

  minion.child.kill("SIGKILL");
  await minion.ended;
  await expect.poll(() => isConnected("web1"), WAIT).toBe(false);
  expect(await cli("run", "*", "test.ping", "--out", "jsonl")).toEqual({
    stdout: '{"web1":"Minion did not return. [Not connected]"}\n',
    stderr: "offline, not waited for: web1\n",
    status: 1,
  });
  expect((await cli("keys", "delete", "web1", "--yes")).status).toBe(0);
  expect((await cli("status")).stdout).toContain("no accepted minions yet");
}, 180_000);

test("pillar edit: a mistake, mended; then shown masked, and encrypted on disk", async () => {
  const secret = randomBytes(9).toString("hex");
  const editor = join(scratch, "editor.sh");
  const lines = [
    "#!/bin/sh",
    `if [ -e ${scratch}/second ]; then cp "$1" ${scratch}/seen; sed -i 's/^ vg_name/vg_name/' "$1"; exit; fi`,
    `touch ${scratch}/second; printf 'password: !secret ${secret}\\n vg_name: data\\n' >>"$1"`,
  ];
  writeFileSync(editor, `${lines.join("\n")}\n`, { mode: 0o755 });
  const edited = await transcriptOf(spawnCli(["pillar", "edit", "db1"], { LATCHKEY_SOCKET: socket, EDITOR: editor }));
  expect(edited).toMatchObject({ status: 0, stdout: expect.stringContaining("one secret changed: password") });
  expect(readFileSync(join(scratch, "seen"), "utf8")).toMatch(/^#~ NOT SAVED: /u);
  expect((await cli("pillar", "show", "db1", "--out", "yaml")).stdout).toBe(
    "password: secret:password\nvg_name: data\n",
  );
  const stored = readFileSync(join(scratch, "pillar/hosts/db1.yaml"), "utf8");
  expect(stored).toContain("vg_name: data");
  expect(stored).not.toContain(secret);
});

test("the wrong fingerprint accepts nothing", async () => {
  const { stderr, status } = await cli("keys", "accept", "*", "--yes", "--fingerprint", "SHA256:other");
  expect(stderr).toContain('latchkey: cannot accept "*": no key that this applies to matches');
  expect(status).toBe(2);
});

test("a second master on the same socket is refused with a hint", async () => {
  const { stderr, status } = await cli("master", "--config", join(scratch, "master.yaml"));
  expect(stderr).toContain("latchkey: cannot");
  expect(status).toBe(3);
});

test("a configuration file with a mistake: file, line, exit status 2", async () => {
  const file = join(scratch, "broken.yaml");
  writeFileSync(file, "interface: 127.0.0.1\nret_prot: 4506\n");
  const { stderr, status } = await cli("master", "--config", file);
  expect(stderr).toContain("ret_prot");
  expect(status).toBe(2);
});
