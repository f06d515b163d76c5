import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { decryptWithPassphrase } from "../../src/core/age-passphrase.ts";
import { Secret } from "../../src/core/secret.ts";
import { protectAgeIdentity } from "../../src/master/age-identity-file.ts";
import { type Rig, rig, scratch } from "../contract/master/rig.ts";
import { runCli, spawnCli, transcriptOf } from "./run-cli.ts";
import { lacks } from "../tools.ts";

const MAIN = resolve(import.meta.dirname, "../../src/main.ts");
let directory: string;
let remove: () => void;
let master: Rig;
let socket: string;
beforeEach(async () => {
  ({ directory, remove } = scratch());
  mkdirSync(join(directory, "pillar"));
  master = await rig(directory, {}, { allow_secret_show: true });
  socket = master.master.socket;
});
afterEach(async () => {
  await master.stop();
  remove();
});
const cli = async (argv: readonly string[], setup: Parameters<typeof runCli>[1] = {}) =>
  runCli(argv, { socket, ...setup });
const onDisk = () => readFileSync(join(directory, "pillar/hosts/web1.yaml"), "utf8");

test("set from standard input, show, history, import, list, rekey, lint: a secret's life at the command line", async () => {
  const value = Buffer.concat([randomBytes(20), Buffer.from([0, 255])]);
  expect(await cli(["secret", "set", "web1", "disk:password", "--stdin"], { input: value })).toEqual({
    stdout: 'set "disk:password" of web1 in hosts/web1.yaml (new), for one recipient\n',
    stderr: "",
    status: 0,
  });
  const shown = await cli(["secret", "show", "web1", "disk:password", "--yes"]);
  expect(Buffer.from(shown.stdout, "latin1")).toEqual(value);
  expect((await cli(["secret", "show", "web1", "disk:password", "--yes", "--base64"])).stdout).toBe(
    `${value.toString("base64")}\n`,
  );
  expect(await cli(["secret", "import", "web1", "disk:password"])).toMatchObject({
    stdout: 'imported "disk:password" of web1 as version 1; hosts/web1.yaml now says !generate\n',
    status: 0,
  });
  expect(onDisk()).toBe("disk:\n  password: !generate\n");
  const again = await cli(["secret", "show", "web1", "disk:password", "--yes"]);
  expect(Buffer.from(again.stdout, "latin1")).toEqual(value);
  expect((await cli(["secret", "history", "web1", "disk:password"])).stdout).toMatch(
    /^VERSION {2}MADE +ORIGIN +RECIPIENTS\n1 \* +\d{4}-\S+ \S+ {2}imported {2}1\n$/u,
  );
  expect((await cli(["secret", "list"])).stdout).toMatch(
    /^HOST +PATH.*\nweb1 {2}disk:password {2}generate {2}1 +hosts\/web1.yaml:2 {2}\?\n$/u,
  );
  expect((await cli(["secret", "rekey"])).stdout).toMatch(
    /^0 rekeyed, 1 right already, 0 failed; one recipient:\n {2}age1/u,
  );
  expect(await cli(["pillar", "lint"])).toEqual({ stdout: "nothing found\n", stderr: "", status: 0 });
});

test("rekey --identity and --drop-old: a new identity behind the same passphrase, the one before kept until it is told to go", async () => {
  await cli(["secret", "set", "web1", "password", "--stdin"], { input: "hunter2" });
  const [, before = ""] = /^ {2}(age1\S+)$/mu.exec((await cli(["secret", "rekey"])).stdout) ?? [];
  expect(await cli(["secret", "rekey", "--drop-old"])).toEqual({
    stdout: "",
    stderr: "nothing to destroy: the master has no older identity\n",
    status: 1,
  });
  using word = Secret.take(Buffer.from("correct horse"));
  await protectAgeIdentity(join(directory, "state/age.key"), word, { workFactor: 4 });
  expect(await cli(["secret", "rekey", "--identity"])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("hint: hand it over with --passphrase-fd"),
  });
  expect(await cli(["secret", "rekey", "--identity"], { answers: ["wrong horse"] })).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("the passphrase is wrong"),
  });
  const made = await cli(["secret", "rekey", "--identity"], { answers: ["correct horse"] });
  expect(made.status).toBe(0);
  expect(made.stdout).toMatch(
    /^rekeyed \S+web1.yaml\n1 rekeyed, 0 right already, 0 failed; one recipient:\n {2}age1\S+\n$/u,
  );
  const [, now = ""] = / {2}(age1\S+)\n$/u.exec(made.stdout) ?? [];
  expect(now).not.toBe(before);
  expect(made.stderr).toBe(
    "passphrase of the age identity: " +
      `the master's identity is ${now} now\n${before} is kept until \`latchkey secret rekey --drop-old\`: ` +
      "copies of the store and of the pillar from before need it\n",
  );
  expect((await cli(["pillar", "lint"])).stdout).toContain("the identity that was replaced is still kept");
  expect(await cli(["secret", "rekey", "--identity"])).toMatchObject({
    stdout: expect.stringContaining("0 rekeyed, 1 right already"),
    stderr: `going on with ${now}, which was made before\n`,
  });
  expect(await cli(["secret", "rekey", "--drop-old"], { answers: ["no"] })).toMatchObject({ stdout: "", status: 1 });
  expect(await cli(["secret", "rekey", "--drop-old"], { answers: ["yes", "correct horse"] })).toEqual({
    stdout: `destroyed ${before}\n`,
    stderr:
      `${before}: copies of the store and of the pillar that only it opens are lost with it\n` +
      "destroy it? [y/N] passphrase of the age identity: ",
    status: 0,
  });
  const file = readFileSync(join(directory, "state/age.key"));
  expect(file.toString("latin1", 0, 14)).toBe("-----BEGIN AGE");
  using opened = await decryptWithPassphrase(file, word);
  expect(
    opened
      .expose()
      .toString()
      .match(/^AGE-SECRET-KEY-1/gmu),
  ).toHaveLength(1);
  expect((await cli(["secret", "show", "web1", "password", "--yes"])).stdout).toBe("hunter2");
  const audit = (await cli(["audit", "log"])).stdout;
  expect(audit).toContain(`${now} is made, to take the place of ${before}`);
  expect(audit).toContain(`the older identity ${before} is destroyed, ${now} is left`);
});

test("show asks first, and without a terminal it does not show", async () => {
  await cli(["secret", "set", "web1", "password", "--stdin"], { input: "hunter2" });
  const denied = await cli(["secret", "show", "web1", "password"], { answers: ["n"] });
  expect(denied).toMatchObject({ stdout: "", status: 1, stderr: expect.stringContaining("nothing shown") });
  const allowed = await cli(["secret", "show", "web1", "password"], { answers: ["y"] });
  expect(allowed).toMatchObject({ stdout: "hunter2\n", status: 0 });
  const blind = await cli(["secret", "show", "web1", "password"]);
  expect(blind).toMatchObject({ stdout: "", status: 2, stderr: expect.stringContaining("there is no terminal") });
});

test("lint: what it finds, a line each, and status 1", async () => {
  await cli(["secret", "set", "web1", "password", "--stdin"], { input: "x\n" });
  writeFileSync(join(directory, "pillar/hosts/web1.yaml"), `${onDisk()}api_token: abc\n`);
  const { stdout, status } = await cli(["pillar", "lint"]);
  expect(stdout).toBe(
    'plain-key-material  web1 hosts/web1.yaml:2: "api_token" is in plain text and looks like key material; write !secret before the value\n',
  );
  expect(status).toBe(1);
  const { findings } = JSON.parse((await cli(["pillar", "lint", "--json"])).stdout) as { readonly findings: object[] };
  expect(findings).toMatchObject([{ kind: "plain-key-material", id: "web1", line: 2 }]);
});

test("a value with a line break at its end is warned of; an empty one, and two that differ, are refused", async () => {
  const set = ["secret", "set", "web1", "password"];
  const warned = await cli([...set, "--stdin"], { input: "hunter2\n" });
  expect(warned.stderr).toContain("ends with a line break, which is part of the key");
  expect((await cli([...set, "--stdin"], { input: "" })).stderr).toContain("the value is empty");
  expect((await cli(set, { answers: ["one", "two"] })).stderr).toContain("the two values differ");
  expect((await cli(set)).stderr).toContain("there is no terminal");
  expect((await cli(set, { answers: ["one", "one"] })).status).toBe(0);
});

/** Runs a command line on a pseudo-terminal of its own, typing what `type` says when the screen shows its cue. */
async function onTerminal(argv: readonly string[], type: readonly (readonly [cue: string, line: string])[]) {
  const words = [process.execPath, "--disable-warning=ExperimentalWarning", MAIN, ...argv];
  const child = spawn("script", ["-qefc", words.map((word) => `'${word}'`).join(" "), "/dev/null"], {
    env: { PATH: process.env["PATH"] ?? "", LATCHKEY_SOCKET: socket, TERM: "dumb", SHELL: "/bin/sh" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const left = [...type];
  let screen = "";
  child.stdout.on("data", (chunk: Buffer) => {
    screen += chunk.toString("latin1");
    const [next] = left;
    if (next === undefined || !screen.includes(next[0])) return;
    left.shift();
    child.stdin.write(`${next[1]}\r`);
  });
  const status = await new Promise<number | null>((done) => child.once("close", done));
  return { screen, status };
}

describe.skipIf(lacks("script"))("on a real terminal", () => {
  test("I5: a typed value is not echoed", async () => {
    const value = randomBytes(8).toString("hex");
    const { screen, status } = await onTerminal(
      ["secret", "set", "web1", "password"],
      [
        ['value of "password":', `wrong\u007f\u007f\u007f\u007f\u007f${value}`],
        ["once more:", value],
      ],
    );
    expect([status, screen.includes(value), screen.includes("wrong")]).toEqual([0, false, false]);
    expect((await cli(["secret", "show", "web1", "password", "--yes"])).stdout).toBe(value);
  });

  test("Ctrl-C at the prompt ends it, and nothing is set", async () => {
    const { status } = await onTerminal(["secret", "set", "web1", "password"], [["value of", "abc\u0003"]]);
    expect(status).toBe(130);
    expect((await cli(["secret", "history", "web1", "password"])).status).not.toBe(0);
  });
});

test("I5: no command takes a value as an argument", async () => {
  const transcript = await transcriptOf(
    spawnCli(["secret", "set", "web1", "password", "hunter2"], { LATCHKEY_SOCKET: socket }),
  );
  expect(transcript).toMatchObject({ status: 2, stderr: expect.stringContaining("too many arguments") });
});
