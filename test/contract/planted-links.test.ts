import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
} from "node:fs";
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HostError } from "../../src/core/errors.ts";
import type { RunOptions } from "../../src/core/host.ts";
import { createHost } from "../../src/minion/host.ts";
import { fileDirectory } from "../../src/states/file/directory.ts";
import { fileManaged } from "../../src/states/file/managed.ts";
import type { AnyState } from "../../src/states/state.ts";
import { resource } from "../../src/states/volume/parts.ts";
import { fakeContext } from "../fakes/apply-context.ts";

const NOBODY = 65_534;
/** No sync is waited for there. */
const MEMORY = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
/** Runs of a state, and the most when the swaps were too slow to be met in that many. */
const ROUNDS = 300;
const MOST_ROUNDS = 30_000;

/**
 * What another user does in a directory of theirs, without end: `conf` is a directory, then a link to the stand-in, then gone.
 * Once each second time the file in it is one, too.
 */
const SWAPPER = `
const { mkdirSync, renameSync, rmSync, symlinkSync } = require("node:fs");
const quiet = (act) => { try { act(); } catch {} };
process.chdir(process.argv[1]);
process.stdout.write("ready");
for (let turn = 0; ; turn += 1) {
  quiet(() => mkdirSync("conf"));
  if (turn % 2 === 1) quiet(() => symlinkSync("../../standin/passwd", "conf/passwd"));
  quiet(() => renameSync("conf", "old" + turn));
  quiet(() => symlinkSync("../standin", "conf"));
  quiet(() => renameSync("conf", "link"));
  quiet(() => rmSync("old" + turn, { recursive: true, force: true }));
}`;

/** Everything that must not change of the directory that links are planted to. */
function look(directory: string): readonly unknown[] {
  return [directory, ...readdirSync(directory).map((name) => join(directory, name))].map((path) => {
    const { uid, gid, mode } = lstatSync(path);
    return [path, uid, gid, mode, path === directory ? "" : readFileSync(path, "utf8")];
  });
}

const STATES: readonly (readonly [AnyState, Record<string, unknown>])[] = [
  [fileDirectory, { name: "home/conf", user: NOBODY, group: NOBODY, mode: "0777" }],
  [fileDirectory, { name: "home/conf/new/deep", user: NOBODY, makedirs: true }],
  [fileManaged, { name: "home/conf/passwd", contents: "theirs", user: NOBODY, mode: "0666" }],
  [fileManaged, { name: "home/conf/passwd", user: NOBODY, group: NOBODY, mode: "0666" }],
];

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn("SKIPPED: links planted by another user: only root can be two users");

describe.skipIf(!isRoot)("links that another user plants in a directory of theirs", () => {
  let scratch: string;
  let swapper: ChildProcess | undefined;

  beforeEach(() => {
    scratch = mkdtempSync(join(MEMORY, "latchkey-planted-"));
    chmodSync(scratch, 0o755);
    mkdirSync(join(scratch, "standin"));
    writeFileSync(join(scratch, "standin/passwd"), "root's own\n", { mode: 0o644 });
    mkdirSync(join(scratch, "home"));
    chownSync(join(scratch, "home"), NOBODY, NOBODY);
  });
  afterEach(async () => {
    if (swapper?.kill("SIGKILL") === true) await once(swapper, "exit");
    swapper = undefined;
    rmSync(scratch, { recursive: true, force: true });
  });

  async function startSwapper(): Promise<void> {
    // by descriptor: the other user may not be able to walk to this Node
    const node = openSync(process.execPath, "r");
    try {
      swapper = spawn(`/proc/self/fd/${node}`, ["-e", SWAPPER, join(scratch, "home")], {
        uid: NOBODY,
        gid: NOBODY,
        stdio: ["ignore", "pipe", "inherit"],
      });
    } finally {
      closeSync(node);
    }
    if (swapper.stdout) await once(swapper.stdout, "data");
  }

  function prepare(state: AnyState, given: Record<string, unknown>) {
    const { params, check, apply } = resource(state);
    const wanted = params.parse({ ...given, name: join(scratch, String(given["name"])) });
    const context = fakeContext(createHost());
    return async () => apply(wanted, context, await check(wanted, context));
  }

  test.each(STATES)("$name refuses a path in it, unless it is meant", async (state, given) => {
    await expect(prepare(state, given)()).rejects.toMatchObject({
      code: "unsafe-path",
      message: expect.stringMatching(/home" belongs to user "nobody"$/u) as string,
      hint: expect.stringContaining("allow_unsafe_path: true") as string,
    });
    mkdirSync(join(scratch, "home/conf"));
    chownSync(join(scratch, "home/conf"), NOBODY, NOBODY);
    await prepare(state, { ...given, makedirs: true, allow_unsafe_path: true })();
    const made = join(scratch, String(given["name"]));
    expect(lstatSync(made)).toMatchObject({ uid: NOBODY });
    await prepare(state, { ...given, allow_unsafe_path: true })();
  });

  test.each(STATES)("$name never follows one", async (state, given) => {
    const before = look(join(scratch, "standin"));
    symlinkSync("../standin", join(scratch, "home/conf"));
    const refused = { code: "unsafe-link" };
    await expect(prepare(state, { ...given, allow_unsafe_path: true })()).rejects.toMatchObject(refused);
    expect(look(join(scratch, "standin"))).toEqual(before);
  });

  test.each(STATES)("$name never follows one that comes and goes while it runs", async (state, given) => {
    await startSwapper();
    const run = prepare(state, { ...given, allow_unsafe_path: true });
    const before = look(join(scratch, "standin"));
    let refused = 0;
    for (let round = 0; round < (refused > 0 ? ROUNDS : MOST_ROUNDS); round += 1) {
      try {
        await run();
      } catch (error) {
        if (!(error instanceof HostError)) throw error;
        if (error.code === "unsafe-link") refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(0);
    expect(look(join(scratch, "standin"))).toEqual(before);
  });

  test("a command starts in no directory that they can put in another's place, unless that is meant or it is theirs", async () => {
    const host = createHost();
    const cwd = join(scratch, "home/conf");
    const where = async (options: RunOptions) => (await host.run(["/bin/pwd", "-P"], options)).stdout.trim();
    mkdirSync(cwd);
    await expect(where({ cwd, allowUnsafePath: false })).rejects.toMatchObject({
      code: "unsafe-path",
      hint: expect.stringContaining("allow_unsafe_path: true") as string,
    });
    expect(await where({ cwd, allowUnsafePath: true })).toBe(cwd);
    expect(await where({ cwd, user: "nobody" })).toBe(cwd);
    expect(await where({ cwd: join(scratch, "home") })).toBe(join(scratch, "home"));
    renameSync(cwd, join(scratch, "home/aside"));
    symlinkSync("../standin", cwd);
    for (const more of [{ allowUnsafePath: true }, { user: "nobody" }]) {
      await expect(where({ cwd, ...more })).rejects.toMatchObject({ code: "unsafe-link" });
    }
  });

  test("a command starts in no link's target that comes and goes while it starts", async () => {
    await startSwapper();
    const host = createHost();
    const cwd = join(scratch, "home/conf");
    const met = new Set<string>();
    for (let round = 0; round < 100 || (met.size === 0 && round < MOST_ROUNDS); round += 1) {
      try {
        const { stdout } = await host.run(["/bin/pwd", "-P"], { cwd, allowUnsafePath: true });
        expect(stdout).not.toContain("standin");
      } catch (error) {
        if (!(error instanceof HostError)) throw error;
        if (error.code === "unsafe-link") met.add(error.code);
      }
    }
    expect(met.size).toBe(1);
  });
});
