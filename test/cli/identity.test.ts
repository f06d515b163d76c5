import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encryptAge } from "../../src/core/age.ts";
import { Secret } from "../../src/core/secret.ts";
import { systemClock } from "../../src/core/clock.ts";
import { loadAgeIdentity, protectAgeIdentity } from "../../src/master/age-identity-file.ts";
import { MemoryStore } from "../../src/master/store/memory.ts";
import { configIn } from "../contract/master/rig.ts";
import { lacks } from "../tools.ts";

const MAIN = resolve(import.meta.dirname, "../../src/main.ts");
const PASSPHRASE = "correct horse battery";
const FAST = 4;
let directory: string;
let config: string;
let file: string;
let recipient: string;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-identity-"));
  for (const name of ["state", "pillar", "states"]) mkdirSync(join(directory, name));
  config = join(directory, "master.yaml");
  writeFileSync(config, JSON.stringify(configIn(directory, { log_level: "silent" })));
  file = join(directory, "state/age.key");
  ({ recipient } = await loadAgeIdentity(file, new MemoryStore(), systemClock));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A command with something on descriptor 3 or in a credential, and no terminal. */
function start(argv: readonly string[], { fd3, credential }: { fd3?: string; credential?: string } = {}) {
  const env: Record<string, string> = { PATH: process.env["PATH"] ?? "" };
  if (credential !== undefined) {
    writeFileSync(join(directory, "latchkey-passphrase"), credential);
    env["CREDENTIALS_DIRECTORY"] = directory;
  }
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", MAIN, ...argv, "-c", config], {
    env,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  const input = child.stdio[3];
  // a command that refuses may end without reading it
  if (input && "end" in input) input.on("error", () => undefined).end(fd3 ?? "");
  return child;
}
async function run(...args: Parameters<typeof start>) {
  const child = start(...args);
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => (text += chunk.toString()));
  // a master that serves has what it needs; other commands end by themselves
  child.stdout?.on("data", () => {
    if (text.startsWith("master fingerprint")) child.kill("SIGTERM");
  });
  const status = await new Promise<number | null>((done) => child.once("close", done));
  return { status, text };
}
const protect = async (passphrase = PASSPHRASE) => {
  using word = Secret.take(Buffer.from(passphrase));
  await protectAgeIdentity(file, word, { workFactor: FAST });
};

test("protect and unprotect: the same identity before, behind and after a passphrase, mode 0600", async () => {
  const plain = readFileSync(file);
  const fd = ["--passphrase-fd", "3"];
  const protectedNow = await run(["identity", "protect", ...fd], { fd3: `${PASSPHRASE}\n` });
  expect(protectedNow).toEqual({ status: 0, text: `protected ${file}\nrecipient ${recipient}\n` });
  expect(readFileSync(file, "latin1")).toMatch(/^-----BEGIN AGE/u);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(directory, "state"))).toEqual(["age.key", "age.key.lock"]);
  expect((await run(["identity", "protect", ...fd], { fd3: PASSPHRASE })).text).toContain("has a passphrase already");
  expect(await run(["identity", "unprotect", ...fd], { fd3: "something else" })).toMatchObject({
    status: 2,
    text: expect.stringContaining("the passphrase is wrong"),
  });
  expect((await run(["identity", "unprotect", ...fd], { fd3: PASSPHRASE })).status).toBe(0);
  expect(readFileSync(file)).toEqual(plain);
});

test("without a terminal and a passphrase, protect says that none was given, and not that the file has one", async () => {
  const { text, status } = await run(["identity", "protect"]);
  expect(text).toContain("cannot protect the age identity: no passphrase was given\nhint: use --passphrase-fd");
  expect(status).toBe(2);
});

test("a passphrase that is short is refused", async () => {
  const { status, text } = await run(["identity", "protect", "--passphrase-fd", "3"], { fd3: "short\n" });
  expect([status, text]).toEqual([2, expect.stringContaining("fewer than 8 bytes")]);
});

describe("a master whose identity has a passphrase", () => {
  test("starts with it from a descriptor or from a systemd credential", async () => {
    await protect();
    const fd = await run(["master", "--passphrase-fd", "3"], { fd3: PASSPHRASE });
    expect(fd.text).toMatch(/^master fingerprint/u);
    const credential = await run(["master"], { credential: `${PASSPHRASE}\n` });
    expect(credential.text).toMatch(/^master fingerprint/u);
  });

  test("does not start with none or with a wrong one, and says what to do", async () => {
    await protect();
    expect(await run(["master"])).toMatchObject({
      status: 2,
      text: expect.stringContaining("hint: use --passphrase-fd"),
    });
    expect(await run(["master"], { credential: "wrong one" })).toMatchObject({
      status: 2,
      text: expect.stringContaining("the passphrase is wrong"),
    });
  });
});

/** Types lines into a program that reads its terminal, one each time it asks. */
async function typeInto(command: string, lines: readonly string[]): Promise<string> {
  const child = spawn("script", ["-qefc", command, "/dev/null"], {
    env: { PATH: process.env["PATH"] ?? "", SHELL: "/bin/sh" },
  });
  const left = [...lines];
  let screen = "";
  child.stdout.on("data", (chunk: Buffer) => {
    screen += chunk.toString("latin1");
    if (/passphrase.*: *$/iu.test(screen.trimEnd()) && left.length > 0) {
      child.stdin.write(`${left.shift()}\r`);
      screen += "\n.";
    }
  });
  await new Promise((done) => child.once("close", done));
  return screen;
}

describe.skipIf(lacks("age"))("with stock age", () => {
  test("the protected file opens a secret, with the passphrase asked for", async () => {
    await protect();
    const [sealed, opened] = [join(directory, "sealed"), join(directory, "opened")];
    writeFileSync(sealed, await encryptAge(Buffer.from("hunter2"), [recipient]));
    await typeInto(`age -d -i ${file} -o ${opened} ${sealed}`, [PASSPHRASE]);
    expect(readFileSync(opened, "utf8")).toBe("hunter2");
  });

  test("an identity that `age -p` protected is one that the master opens", async () => {
    const other = join(directory, "state/other.key");
    await typeInto(`umask 077; age -p -o ${other} ${file}`, [PASSPHRASE, PASSPHRASE]);
    const ask = async () => Secret.take(Buffer.from(PASSPHRASE));
    expect((await loadAgeIdentity(other, new MemoryStore(), systemClock, ask)).recipient).toBe(recipient);
  });
});
