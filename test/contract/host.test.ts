import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { HostError } from "../../src/core/errors.ts";
import type { Host } from "../../src/core/host.ts";
import { Secret } from "../../src/core/secret.ts";
import { createHost, MAX_OUTPUT_BYTES } from "../../src/minion/host.ts";
import { FakeHost } from "../fakes/fake-host.ts";

const scratch = mkdtempSync(join(tmpdir(), "latchkey-host-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** What every process of this machine was started as (proc(5)), a line each; needs no program that a bare Debian lacks. */
const commandLines = (): string =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/u.test(name))
    .map((pid) => {
      try {
        return readFileSync(join("/proc", pid, "cmdline"), "utf8").replaceAll("\0", " ");
      } catch {
        return ""; // it ended in between
      }
    })
    .join("\n");

function scriptedFake(): FakeHost {
  return new FakeHost()
    .directory(scratch)
    .on(["cat"], (stdin) => ({ stdout: stdin.toString("utf8") }))
    .on(["false"], { exitCode: 1 })
    .on(["sh", "-c", "echo first >&2; echo oops >&2; exit 3"], { exitCode: 3, stderr: "first\noops\n" });
}

const hosts: readonly [string, () => Host, (path: string, target: string) => void][] = (() => {
  const fake = scriptedFake();
  return [
    ["real", createHost, (path: string, target: string) => symlinkSync(target, path)],
    ["fake", () => fake, (path: string, target: string) => void fake.link(path, target)],
  ];
})();

const failing = async (act: Promise<unknown>): Promise<HostError> => {
  const thrown = await act.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(HostError);
  return thrown as HostError;
};

describe.each(hosts)("the %s host", (label, make, link) => {
  const host = make();
  const root = join(scratch, label);
  const at = (name: string) => join(root, name);

  test("hands bytes and secrets to standard input", async () => {
    expect((await host.run(["cat"], { stdin: Buffer.from("plain") })).stdout).toBe("plain");
    const secret = Secret.take(Buffer.from("hush"));
    expect((await host.run(["cat"], { stdin: secret })).stdout).toBe("hush");
    using second = Secret.take(Buffer.from("!"));
    expect((await host.run(["cat"], { stdin: [secret, second, secret] })).stdout).toBe("hush!hush");
  });

  test("I5: says when the pipe has taken standard input, once: a secret may be wiped while the command still runs", async () => {
    const secret = Secret.take(Buffer.from("hush"));
    let times = 0;
    const stdinTaken = () => {
      times += 1;
      secret.wipe();
    };
    expect((await host.run(["cat"], { stdin: secret, stdinTaken })).stdout).toBe("hush");
    expect(times).toBe(1);
    using other = Secret.take(Buffer.from("hush"));
    await host.run(["false"], { stdin: other, stdinTaken, okCodes: [0, 1] });
    expect(times).toBe(2);
  });

  test("an exit code that is not expected is an error with facts, an expected one is a value", async () => {
    const error = await failing(host.run(["sh", "-c", "echo first >&2; echo oops >&2; exit 3"]));
    expect(error).toMatchObject({ code: "command-failed", facts: { exitCode: 3, stderr: "first; oops" } });
    expect(error.message).toBe('cannot run "echo first >&2; echo oops >&2; exit 3": exit code 3, first; oops');
    expect((await host.run(["false"], { okCodes: [0, 1] })).exitCode).toBe(1);
  });

  test("a run that was aborted before it began does not begin", async () => {
    expect(await failing(host.run(["cat"], { signal: AbortSignal.abort() }))).toMatchObject({
      code: "command-aborted",
    });
  });

  test("a file that is held is told from another one that gets its name", async () => {
    await host.makeDirectory(root, 0o755);
    const path = at("held");
    await host.writeFile(path, Buffer.from("first"), { mode: 0o600 });
    const hold = await host.hold(path);
    expect(hold?.stat).toMatchObject({ kind: "file", size: 5, rdev: "" });
    link(at("link-to-held"), path);
    expect(await hold?.isAt(at("link-to-held"))).toBe(true);
    expect(await hold?.isAt(hold.path)).toBe(true);
    await host.writeFile(path, Buffer.from("second"), { mode: 0o600 });
    expect(await hold?.isAt(path)).toBe(false);
    await host.remove(path);
    expect(await hold?.isAt(path)).toBeUndefined();
    await hold?.release();
    await hold?.release();
    expect(await host.hold(path)).toBeUndefined();
    expect(await failing(host.hold(root))).toMatchObject({ code: "wrong-file-kind" });
  });

  test("what is not there reads as undefined", async () => {
    await host.makeDirectory(root, 0o755);
    const nothing = at("nothing");
    expect(await host.readFile(nothing)).toBeUndefined();
    expect(await host.readRange(nothing, 0, 4)).toBeUndefined();
    expect(await host.stat(nothing)).toBeUndefined();
    expect(await host.lstat(nothing)).toBeUndefined();
    expect(await host.readLink(nothing)).toBeUndefined();
    expect(await host.realPath(nothing)).toBeUndefined();
    expect(await host.readDirectory(nothing)).toBeUndefined();
    expect(await host.space(nothing)).toBeUndefined();
    await host.remove(nothing);
  });

  test("writes whole files with their mode, leaves nothing beside them", async () => {
    await host.makeDirectory(at("w/deep"), 0o750);
    expect(await host.stat(at("w"))).toMatchObject({ kind: "directory", mode: 0o750 });
    await host.writeFile(at("w/deep/a"), Buffer.from("one"), { mode: 0o600 });
    await host.writeFile(at("w/deep/a"), Buffer.from("two!"), { mode: 0o664 });
    expect((await host.readFile(at("w/deep/a")))?.toString()).toBe("two!");
    expect(await host.stat(at("w/deep/a"))).toMatchObject({ kind: "file", size: 4, mode: 0o664, rdev: "" });
    expect(await host.readDirectory(at("w/deep"))).toEqual(["a"]);
    expect((await failing(host.writeFile(at("none/a"), Buffer.from(""), { mode: 0o600 }))).facts).toMatchObject({
      errno: "ENOENT",
    });
  });

  test("reads ranges, short at the end", async () => {
    await host.writeFile(at("range"), Buffer.from("0123456789"), { mode: 0o600 });
    expect((await host.readRange(at("range"), 2, 3))?.toString()).toBe("234");
    expect((await host.readRange(at("range"), 8, 10))?.toString()).toBe("89");
    expect((await host.readRange(at("range"), 20, 10))?.length).toBe(0);
  });

  test("follows links or not, as asked", async () => {
    await host.writeFile(at("target"), Buffer.from("x"), { mode: 0o600 });
    link(at("link"), "target");
    expect((await host.stat(at("link")))?.kind).toBe("file");
    expect((await host.lstat(at("link")))?.kind).toBe("symlink");
    expect(await host.readLink(at("link"))).toBe("target");
    expect(await host.realPath(at("link"))).toBe(await host.realPath(at("target")));
    expect(await failing(host.readLink(at("target")))).toBeInstanceOf(HostError);
  });

  test("removes files and empty directories, never a tree", async () => {
    await host.makeDirectory(at("tree"), 0o700);
    await host.writeFile(at("tree/leaf"), Buffer.from(""), { mode: 0o600 });
    expect((await failing(host.remove(at("tree")))).facts).toMatchObject({ errno: "ENOTEMPTY" });
    await host.remove(at("tree/leaf"));
    await host.remove(at("tree"));
    expect(await host.stat(at("tree"))).toBeUndefined();
  });

  const setMode = async (path: string, mode: number) => {
    using held = await host.holdPath(path, { allowUnsafePath: true });
    await held?.setOwnership({ mode });
  };

  test("changes modes", async () => {
    await host.writeFile(at("mode"), Buffer.from(""), { mode: 0o600 });
    await setMode(at("mode"), 0o755);
    expect((await host.stat(at("mode")))?.mode).toBe(0o755);
    expect((await failing(setMode(at("absent"), 0o755))).facts).toMatchObject({ errno: "ENOENT" });
  });

  test("holds what has a name, and the directory, links resolved where root alone writes", async () => {
    await host.makeDirectory(at("held/in"), 0o755);
    link(at("held/link"), "in/../in");
    using held = await host.holdPath(at("held/link/file"));
    expect(held).toMatchObject({ path: at("held/in/file"), found: undefined, foundDescriptor: undefined, unsafe: "" });
    await held?.writeFile(Buffer.from("kept"), { mode: 0o640 });
    link(at("held/name"), "link/file");
    using itself = await host.holdPath(at("held/name"));
    expect(itself).toMatchObject({ path: at("held/name"), found: { kind: "symlink" } });
    using followed = await host.holdPath(at("held/name"), { followLast: true });
    expect(followed).toMatchObject({ path: at("held/in/file"), found: { kind: "file", mode: 0o640 } });
    expect((await followed?.readFile())?.toString()).toBe("kept");
    expect(followed?.foundDescriptor).toEqual(expect.any(Number));
    using directory = await host.holdPath(at("held/in"));
    expect(directory?.found?.kind).toBe("directory");
    expect(await failing(directory?.readFile() as Promise<Buffer>)).toMatchObject({ code: "wrong-file-kind" });
    expect(await host.holdPath(at("held/none/file"))).toBeUndefined();
    expect(await host.holdPath(at("held/in/file/below"))).toBeUndefined();
    using made = await host.holdPath(at("held/made/deep/x"), { parentsMode: 0o711 });
    expect(made?.found).toBeUndefined();
    expect(await host.stat(at("held/made/deep"))).toMatchObject({ kind: "directory", mode: 0o711 });
    using root = await host.holdPath("/");
    expect(root).toMatchObject({ path: "/", found: { kind: "directory" } });
  });

  test.each([
    [0o777, /every user may write to "/u, "unsafe-path"],
    // nobody can take from root what is root's in a directory with the sticky bit
    [0o1777, /every user may write to "/u, "held"],
    [0o775, /group .* may write to "/u, "unsafe-path"],
  ])("refuses a path below a directory of mode %o unless it is meant", async (mode, reason, further) => {
    const open = at(`open-${mode}`);
    await host.makeDirectory(`${open}/x/y`, 0o755);
    await setMode(open, mode);
    const refused = { code: "unsafe-path", message: expect.stringMatching(reason) as string };
    expect(await failing(host.writeFile(`${open}/file`, Buffer.from(""), { mode: 0o600 }))).toMatchObject(refused);
    expect(await failing(host.makeDirectory(`${open}/new/deep`, 0o755))).toMatchObject(refused);
    expect(await failing(host.remove(`${open}/x`))).toMatchObject(refused);
    expect(await failing(host.holdPath(`${open}/x`, { allowUnsafePath: false }))).toMatchObject(refused);
    const below = host.holdPath(`${open}/x/y/file`).then(
      () => "held",
      ({ code }: HostError) => code,
    );
    expect(await below).toBe(further);
    using held = await host.holdPath(`${open}/made/file`, { allowUnsafePath: true, parentsMode: 0o750 });
    expect(held?.unsafe).toMatch(reason);
    await held?.writeFile(Buffer.from("meant"), { mode: 0o600 });
    expect((await host.readFile(`${open}/made/file`))?.toString()).toBe("meant");
    using directory = await host.holdPath(`${open}/made/z`, { allowUnsafePath: true });
    await directory?.makeDirectory({ mode: 0o700 });
    expect(directory?.found).toMatchObject({ kind: "directory", mode: 0o700 });
    expect(await host.readDirectory(`${open}/made`)).toEqual(["file", "z"]);
  });

  test("never follows a link that others can have planted, on the way or at the end", async () => {
    await host.makeDirectory(at("planted/safe"), 0o755);
    await host.makeDirectory(at("planted/open"), 0o755);
    await host.writeFile(at("planted/safe/file"), Buffer.from("old"), { mode: 0o600 });
    link(at("planted/open/way"), "../safe");
    link(at("planted/open/end"), "../safe/file");
    await setMode(at("planted/open"), 0o777);
    const meant = { allowUnsafePath: true, followLast: true };
    const refused = { code: "unsafe-link", message: expect.stringContaining("is a link") as string };
    expect(await failing(host.holdPath(at("planted/open/way/file"), meant))).toMatchObject(refused);
    expect(await failing(host.holdPath(at("planted/open/end"), meant))).toMatchObject(refused);
    using itself = await host.holdPath(at("planted/open/end"), { allowUnsafePath: true });
    expect(await failing(itself?.setOwnership({ mode: 0o777 }) as Promise<void>)).toMatchObject({
      code: "wrong-file-kind",
    });
    await itself?.writeFile(Buffer.from("new"), { mode: 0o644 });
    expect((await host.readFile(at("planted/safe/file")))?.toString()).toBe("old");
    expect((await host.lstat(at("planted/open/end")))?.kind).toBe("file");
  });

  test("what is ours already keeps its owner and mode where others can have moved it", async () => {
    await host.makeDirectory(at("moved/open"), 0o755);
    await host.writeFile(at("moved/open/secret"), Buffer.from(""), { mode: 0o600 });
    await setMode(at("moved/open"), 0o777);
    expect(await failing(setMode(at("moved/open/secret"), 0o644))).toMatchObject({ code: "unsafe-owner" });
    expect((await host.stat(at("moved/open/secret")))?.mode).toBe(0o600);
  });

  test("a directory is not read as a file", async () => {
    expect(await failing(host.readFile(root))).toMatchObject({ code: "wrong-file-kind" });
  });

  test("tells the space of a file system", async () => {
    const space = await host.space(root);
    expect(space?.total).toBeGreaterThan(0);
    expect(space?.free).toBeLessThanOrEqual(space?.total ?? 0);
  });
});

describe("the real host alone", () => {
  const host = createHost();

  test("a file with a second name is refused where others can have given it", async () => {
    const open = join(scratch, "hard");
    mkdirSync(open);
    writeFileSync(join(scratch, "precious"), "");
    linkSync(join(scratch, "precious"), join(open, "name"));
    using closed = await host.holdPath(join(open, "name"));
    expect(closed?.found?.kind).toBe("file");
    chmodSync(open, 0o777);
    const refused = { code: "unsafe-link", message: expect.stringContaining("second name") as string };
    expect(await failing(host.holdPath(join(open, "name"), { allowUnsafePath: true }))).toMatchObject(refused);
  });

  test("a FIFO or device at the end of a path is held without being opened", async () => {
    execFileSync("mkfifo", [join(scratch, "planted")]);
    using held = await host.holdPath(join(scratch, "planted"));
    expect(await failing(held?.readFile() as Promise<Buffer>)).toMatchObject({ code: "wrong-file-kind" });
    expect(await failing(held?.setOwnership({ mode: 0o777 }) as Promise<void>)).toMatchObject({
      code: "wrong-file-kind",
    });
  });

  test("whatever becomes of the path, what is held is what is written to and what a command gets", async () => {
    const path = (name: string) => join(scratch, name);
    mkdirSync(path("first"));
    using held = await host.holdPath(join(path("first"), "file"));
    renameSync(path("first"), path("second"));
    mkdirSync(path("first"));
    await held?.writeFile(Buffer.from("here"), { mode: 0o600 });
    expect(existsSync(join(path("first"), "file"))).toBe(false);
    const descriptors = [held?.directoryDescriptor ?? -1];
    const { stdout } = await host.run(["cat", "/proc/self/fd/3/file"], { descriptors });
    expect(stdout).toBe("here");
  });

  test("every descriptor of a walk is closed again", async () => {
    const count = () => readdirSync("/proc/self/fd").length;
    mkdirSync(join(scratch, "leak"));
    symlinkSync("leak", join(scratch, "leak-link"));
    const before = count();
    for (const name of ["leak/file", "leak-link/file", "none/file", "leak-link", "precious/x"]) {
      for (const followLast of [false, true]) {
        const held = await host.holdPath(join(scratch, name), { followLast });
        held?.[Symbol.dispose]();
      }
    }
    await failing(host.holdPath("/tmp/x"));
    expect(count()).toBe(before);
  });

  test("a missing program and a missing directory are told apart", async () => {
    expect(await failing(host.run(["no-such-program-here"]))).toMatchObject({ code: "command-missing" });
    expect(await failing(host.run(["true"], { cwd: "/no/such" }))).toMatchObject({ code: "no-such-directory" });
    expect(await failing(host.run(["true"], { user: "nobody-of-that-name" }))).toMatchObject({ code: "no-such-user" });
  });

  test("the environment is minimal and fixed", async () => {
    process.env["LATCHKEY_STRAY"] = "1";
    const { stdout } = await host.run(["env"], { env: { EXTRA: "yes" } });
    const names = stdout
      .trim()
      .split("\n")
      .map((line) => line.split("=")[0]);
    expect(new Set(names)).toEqual(new Set(["EXTRA", "LC_ALL", "PATH"]));
  });

  test("a deadline further away than a timer can wait is no deadline that has passed", async () => {
    for (const timeoutMs of [2 ** 31, Number.POSITIVE_INFINITY]) {
      expect(await host.run(["sh", "-c", "sleep 0.1; echo done"], { timeoutMs })).toMatchObject({ stdout: "done\n" });
    }
  });

  test("a deadline ends the whole process group", async () => {
    const marker = `${process.pid}.${Date.now() % 100_000}`;
    const script = `sleep 100.${marker.replaceAll(".", "")} & sleep 100; wait`;
    expect(await failing(host.run(["sh", "-c", script], { timeoutMs: 150 }))).toMatchObject({
      code: "command-timeout",
    });
    // a KILL takes effect when its process is next scheduled
    await expect.poll(commandLines).not.toContain(`sleep 100.${marker.replaceAll(".", "")}`);
  });

  test("an abort ends a running command", async () => {
    const controller = new AbortController();
    const run = failing(host.run(["sleep", "100"], { signal: controller.signal }));
    controller.abort();
    expect(await run).toMatchObject({ code: "command-aborted" });
  });

  test("output is bounded", async () => {
    const result = await host.run(["head", "-c", "3000000", "/dev/zero"]);
    expect(result.stdout).toHaveLength(MAX_OUTPUT_BYTES);
    expect(result.truncated).toBe(true);
  });

  test("a process left behind does not keep the run from ending", async () => {
    const { stdout } = await host.run(["sh", "-c", "sleep 600 & echo $!"]);
    // it lives still: nobody waited for it
    expect(process.kill(Number(stdout), "SIGKILL")).toBe(true);
  });

  test("I5: passwords in arguments are masked in errors", async () => {
    const error = await failing(host.run(["sh", "-c", "exit 1", "--password", "hunter2", "--token=abc"]));
    expect(error.facts["argv"]).toEqual(["sh", "-c", "exit 1", "--password", "[masked]", "--token=[masked]"]);
  });

  test("lesson: 2024-22231 reads never open FIFOs or devices", async () => {
    const fifo = join(scratch, "fifo");
    execFileSync("mkfifo", [fifo]);
    expect(await failing(host.readFile(fifo))).toMatchObject({ code: "wrong-file-kind", facts: { kind: "fifo" } });
    expect(await failing(host.readRange(fifo, 0, 1))).toMatchObject({ code: "wrong-file-kind" });
    expect(await failing(host.readFile("/dev/zero"))).toMatchObject({
      code: "wrong-file-kind",
      facts: { kind: "char" },
    });
  });

  test("lesson: 2020-16846 names are arguments, never shell text", async () => {
    const { stdout } = await host.run(["echo", "--", `$(touch ${join(scratch, "pwned")}); a && b`]);
    expect(stdout).toContain("$(touch");
    expect(existsSync(join(scratch, "pwned"))).toBe(false);
  });

  test("lesson: 2020-17490 files have their mode from the first byte, and unpredictable temporary names", async () => {
    const path = join(scratch, "secretive");
    writeFileSync(`${path}.new`, "somebody else's");
    await host.writeFile(path, Buffer.from("x"), { mode: 0o600 });
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("reads /proc and tells device numbers", async () => {
    expect((await host.readFile("/proc/self/stat"))?.length).toBeGreaterThan(10);
    expect(await host.stat("/dev/null")).toMatchObject({ kind: "char", rdev: "1:3" });
  });
});

test("the fake fails on anything unscripted", async () => {
  await expect(new FakeHost().run(["rm", "-rf", "/"])).rejects.toThrow('unscripted command: ["rm","-rf","/"]');
});
