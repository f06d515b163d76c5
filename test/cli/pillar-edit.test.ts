import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { PillarSource, PillarUpdate } from "../../src/core/control-api.ts";
import { type FakeMaster, type Refusal, type Script, startFakeMaster } from "./fake-master.ts";
import { runCli, spawnCli, type Transcript, transcriptOf } from "./run-cli.ts";

const WAIT = { timeout: 60_000 };
let scratch = "";
let memory = "";
let fake: FakeMaster | undefined;
let source: PillarSource;
let updates: PillarUpdate[] = [];
const secret = randomBytes(12).toString("hex");

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "latchkey-edit-test-"));
  // of these tests alone: the next edit of anybody wipes what a killed one left
  memory = mkdtempSync("/dev/shm/latchkey-test-");
  source = { path: "/srv/pillar/db1.yaml", revision: "rev1", text: `password: !secret ${secret}\n` };
  updates = [];
});
afterEach(async () => {
  await fake?.close();
  for (const directory of [scratch, memory]) rmSync(directory, { recursive: true, force: true });
});

const mistake: Refusal = {
  httpStatus: 422,
  error: { code: "bad-yaml", message: 'cannot read "db1.yaml": line 2: bad indent', hint: "use blanks", exitStatus: 2 },
};
const conflict: Refusal = {
  httpStatus: 409,
  error: { code: "conflict", message: "cannot save: the file changed meanwhile", exitStatus: 2 },
};

/** A master whose answers to updates are given in order; without one the update is taken. */
async function start(answers: readonly Refusal[] = [], more: Script = {}): Promise<FakeMaster> {
  const left = [...answers];
  fake = await startFakeMaster({
    source: () => source,
    update: (_, update) => {
      updates.push(update);
      return left.shift() ?? { changedSecrets: ["password"], warnings: [] };
    },
    ...more,
  });
  return fake;
}

/** An editor that notes where its file was, keeps a copy of each round, and then runs the lines given. */
function editor(lines: string): string {
  const path = join(scratch, "editor.sh");
  const round = join(scratch, "round");
  writeFileSync(
    path,
    `#!/bin/sh
file=$1
n=$(( $(cat ${round} 2>/dev/null || echo 0) + 1 )); echo $n >${round}
cp "$file" ${scratch}/seen.$n
stat -c %a "$file" >${scratch}/mode; stat -c %a "$(dirname "$file")" >>${scratch}/mode
stat -f -c %T "$file" >>${scratch}/mode
echo "$file" >${scratch}/path
${lines}
`,
  );
  chmodSync(path, 0o755);
  return path;
}

const seen = (round: number) => readFileSync(join(scratch, `seen.${round}`), "utf8");
const editedPath = () => readFileSync(join(scratch, "path"), "utf8").trim();

async function edit(lines: string, env: Readonly<Record<string, string>> = {}): Promise<Transcript> {
  return await transcriptOf(spawnEdit(lines, env));
}

function spawnEdit(lines: string, env: Readonly<Record<string, string>> = {}): ChildProcess {
  return spawnCli(["pillar", "edit", "db1"], {
    LATCHKEY_SOCKET: fake?.socket ?? "",
    XDG_RUNTIME_DIR: memory,
    EDITOR: editor(lines),
    ...env,
  });
}

function expectWiped(): void {
  expect(existsSync(dirname(editedPath()))).toBe(false);
}

describe("an edit", () => {
  test("is on a file system in memory, for its owner alone, and gone afterwards", async () => {
    await start();
    const { stdout, stderr, status } = await edit(`echo 'vg_name: data' >>"$file"; cp "$file" "$file~"`);
    expect({ stdout, stderr, status }).toEqual({
      stdout: "saved /srv/pillar/db1.yaml for db1; one secret changed: password\n",
      stderr: "",
      status: 0,
    });
    expect(readFileSync(join(scratch, "mode"), "utf8")).toBe("600\n700\ntmpfs\n");
    expect(updates).toEqual([{ revision: "rev1", text: `${source.text}vg_name: data\n` }]);
    expectWiped();
  });

  test("that changes nothing writes nothing", async () => {
    await start();
    expect(await edit("true")).toEqual({ stdout: "", stderr: "nothing changed\n", status: 0 });
    expect(updates).toEqual([]);
    expectWiped();
  });

  test("that only takes our header away writes nothing", async () => {
    await start();
    expect((await edit(`sed -i '/^#~/d' "$file"`)).stderr).toBe("nothing changed\n");
    expect(updates).toEqual([]);
  });

  test("the editor's arguments are split at blanks and never given to a shell", async () => {
    await start();
    const path = editor("true");
    const evil = `${path} ;touch ${scratch}/evil`;
    const child = spawnCli(["pillar", "edit", "db1"], { LATCHKEY_SOCKET: fake?.socket ?? "", VISUAL: evil });
    await transcriptOf(child);
    expect(existsSync(join(scratch, "evil"))).toBe(false);
  });

  test("an editor that is not there is named before anything is decrypted", async () => {
    const { requests } = await start();
    const { stderr, status } = await edit("true", { EDITOR: "no-such-editor --wait" });
    expect(stderr).toContain('latchkey: cannot edit: no such editor as "no-such-editor --wait"\nhint: ');
    expect(status).toBe(3);
    expect(requests).toEqual([]);
  });
});

describe("a mistake", () => {
  test("opens the editor again with the error on top and nothing lost; mended, it is saved without it", async () => {
    await start([mistake]);
    const { stdout, status } = await edit(`case $n in
      1) echo ' bad' >>"$file";;
      2) sed -i 's/^ bad/good: 1/' "$file";;
    esac`);
    expect(seen(2)).toBe(
      `#~ NOT SAVED: cannot read "db1.yaml": line 2: bad indent
#~ hint: use blanks
#~ Mend it and save again. Leave the file untouched to give up; these lines are not saved.
${source.text} bad
`,
    );
    expect(updates.map(({ text }) => text)).toEqual([`${source.text} bad\n`, `${source.text}good: 1\n`]);
    expect(stdout).toContain("saved");
    expect(status).toBe(0);
    expectWiped();
  });

  test("a mistake in the file is told with the line that the editor shows, and the key on it", async () => {
    const message = `cannot save the secret "b": it is empty (${source.path} line 2)`;
    const error = { ...mistake.error, message, facts: { file: source.path, line: 2 } };
    await start([{ ...mistake, error }]);
    await edit(`[ $n -gt 1 ] || echo 'b: !secret ""' >>"$file"`);
    const lines = seen(2).split("\n");
    const at = lines.findIndex((line) => line.startsWith("b:")) + 1;
    expect(lines[0]).toBe(`#~ NOT SAVED: cannot save the secret "b": it is empty (line ${at}, "b:")`);
  });

  test("left untouched gives up with the error", async () => {
    await start([mistake]);
    const { stderr, status } = await edit(`[ $n -gt 1 ] || echo ' bad' >>"$file"`);
    expect(stderr).toBe('latchkey: cannot read "db1.yaml": line 2: bad indent\nhint: use blanks\n');
    expect(status).toBe(2);
    expectWiped();
  });

  test("a master that went away meanwhile costs nothing: the text comes back", async () => {
    let down = false;
    await start([], { refuse: () => (down ? { ...mistake, httpStatus: 503 } : undefined) });
    const child = spawnCli(["pillar", "edit", "db1"], {
      LATCHKEY_SOCKET: fake?.socket ?? "",
      EDITOR: editor(`[ $n -gt 1 ] || { while [ ! -e ${scratch}/go ]; do sleep 0.02; done; echo 'a: 1' >>"$file"; }`),
    });
    const transcript = transcriptOf(child);
    await expect.poll(() => existsSync(join(scratch, "path")), WAIT).toBe(true);
    down = true;
    writeFileSync(join(scratch, "go"), "");
    expect((await transcript).status).toBe(2);
    expect(seen(2)).toContain(`${source.text}a: 1\n`);
    expectWiped();
  });
});

describe("an editor that saves what was refused once more", () => {
  const onTerminal = async (lines: string, answers: readonly string[]): Promise<Transcript> =>
    runCli(["pillar", "edit", "db1"], {
      socket: fake?.socket ?? "",
      env: { XDG_RUNTIME_DIR: memory, PATH: process.env["PATH"] ?? "", EDITOR: editor(lines) },
      answers,
    });

  test.each([
    ["truncates it", `: >"$file"`, ""],
    ["puts a file of its own there", `echo 'mine: 1' >"$file"`, "mine: 1\n"],
  ])("%s: it is stopped with the mistake", async (_, lines, text) => {
    await start([mistake, mistake, mistake]);
    const { stderr, status } = await edit(lines);
    expect(stderr).toBe(
      "the editor saved the same text again: it is wiped, nothing was written\n" +
        'latchkey: cannot read "db1.yaml": line 2: bad indent\nhint: use blanks\n',
    );
    expect(status).toBe(2);
    expect(updates.map((update) => update.text)).toEqual([text]);
    expectWiped();
  });

  test("on a terminal nothing is given up without asking", async () => {
    await start([mistake, mistake]);
    const { stderr, stdout, status } = await onTerminal(`[ $n -gt 1 ] || echo ' bad' >>"$file"`, ["e", "s", "save"]);
    expect(stderr).toContain(
      'cannot read "db1.yaml": line 2: bad indent\n(e)dit again, (s)ave again, or (g)ive up? [e/s/g] ',
    );
    expect(stdout).toContain("saved");
    expect(status).toBe(0);
    expect(updates.map(({ text }) => text)).toEqual(Array(3).fill(`${source.text} bad\n`));
    expectWiped();
  });

  test("a conflict is not saved over by a word at the prompt", async () => {
    await start([conflict]);
    const { stderr, status } = await onTerminal(`[ $n -gt 1 ] || echo 'a: 1' >>"$file"`, ["s"]);
    expect(stderr).toContain("(e)dit again, or (g)ive up? [e/g] ");
    expect(status).toBe(2);
    expect(updates).toHaveLength(1);
    expectWiped();
  });
});

describe("a conflict", () => {
  const theirs = () => ({ ...source, revision: "rev2", text: "vg_name: theirs\n" });

  test("keeps the text, shows the other version, and saves over it when told to", async () => {
    await start([conflict], { source: () => (updates.length === 0 ? source : theirs()) });
    const { status } = await edit(`case $n in
      1) echo 'mine: 1' >>"$file";;
      2) cp "$(dirname "$file")/db1.theirs.yaml" ${scratch}/theirs; sed -i '/^#~/d' "$file";;
    esac`);
    expect(status).toBe(0);
    expect(seen(2)).toContain("#~ NOT SAVED: cannot save: the file changed meanwhile\n");
    expect(seen(2)).toContain(`${source.text}mine: 1\n`);
    expect(readFileSync(join(scratch, "theirs"), "utf8")).toBe("vg_name: theirs\n");
    expect(updates.map(({ revision }) => revision)).toEqual(["rev1", "rev2"]);
    expectWiped();
  });

  test("left untouched changes nothing", async () => {
    await start([conflict], { source: () => (updates.length === 0 ? source : theirs()) });
    const { status } = await edit(`[ $n -gt 1 ] || echo 'mine: 1' >>"$file"`);
    expect(status).toBe(2);
    expect(updates).toHaveLength(1);
    expectWiped();
  });
});

describe("lesson: plaintext in an editor's temporary file", () => {
  test("an editor that fails: wiped, nothing written", async () => {
    await start();
    const { stderr, status } = await edit(`echo 'a: 1' >>"$file"; exit 3`);
    expect(stderr).toMatch(/^latchkey: cannot edit with ".*": it ended with status 3; nothing was written\n$/u);
    expect(status).toBe(3);
    expect(updates).toEqual([]);
    expectWiped();
  });

  test("an editor that crashes: wiped with all that it left beside the file", async () => {
    await start();
    const { stderr, status } = await edit(
      `cp "$file" "$(dirname "$file")/.db1.yaml.swp"; mkdir "$file.d"; cp "$file" "$file.d/undo"; kill -SEGV $$`,
    );
    expect(stderr).toContain("it was ended by SIGSEGV; nothing was written");
    expect(status).toBe(3);
    expectWiped();
  });

  test.each([
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("%s while the editor is open: the editor is ended, the file wiped", async (signal, expected) => {
    await start();
    // the trap stands before the file that tells so
    const child = spawnEdit(
      `trap 'echo late >>"$file"; exit 0' TERM; echo $$ >${scratch}/pid; while :; do sleep 0.02; done`,
    );
    const transcript = transcriptOf(child);
    await expect.poll(() => existsSync(join(scratch, "pid")), WAIT).toBe(true);
    child.kill(signal);
    expect((await transcript).status).toBe(expected);
    expect(updates).toEqual([]);
    expectWiped();
  });

  test("SIGINT is the editor's own: a Ctrl-C in a command that it runs costs nothing, not even twice", async () => {
    await start();
    const { stdout, status } = await edit(`echo 'a: 1' >>"$file"; kill -INT $PPID; kill -INT $PPID`);
    expect(stdout).toContain("saved");
    expect(status).toBe(0);
    expect(updates.map(({ text }) => text)).toEqual([`${source.text}a: 1\n`]);
    expectWiped();
  });

  test("SIGINT while the master is asked, after the editor, ends the edit", async () => {
    const child: { process?: ChildProcess } = {};
    await start([], { update: () => void child.process?.kill("SIGINT") });
    child.process = spawnEdit(`echo 'a: 1' >>"$file"`);
    expect((await transcriptOf(child.process)).status).toBe(130);
    expectWiped();
  });

  test("what a KILL left is found and wiped by the next edit, and a living edit is left alone", async () => {
    await start();
    const wait = `[ -e ${scratch}/go ] || { touch ${scratch}/here; while [ ! -e ${scratch}/go ]; do sleep 0.02; done; }`;
    const child = spawnEdit(wait);
    const ended = transcriptOf(child);
    await expect.poll(() => existsSync(join(scratch, "here")), WAIT).toBe(true);
    const left = dirname(editedPath());
    const other = await edit("true", { EDITOR: "true" });
    expect(other.stderr).toBe("nothing changed\n");
    expect(existsSync(left)).toBe(true);
    child.kill("SIGKILL");
    await new Promise((done) => child.once("exit", done));
    expect(readdirSync(left)).toEqual(["db1.yaml"]);
    writeFileSync(join(scratch, "go"), "");
    await ended;
    expect((await edit("true", { EDITOR: "true" })).stderr).toContain(`left in ${left}\n`);
    expect(existsSync(left)).toBe(false);
  });
});
