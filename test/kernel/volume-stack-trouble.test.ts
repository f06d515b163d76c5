import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Host } from "../../src/core/host.ts";
import { isMountedHere } from "../../src/states/volume/parts.ts";
import { findMapping } from "../../src/states/devices/block-device.ts";
import { hashOf, Machine } from "./support/machine.ts";
import { Stack } from "./support/stack.ts";
import { machineKey } from "./support/state-run.ts";

const machine = new Machine();
const key = machineKey();
let stack: Stack;
let disk = "";

/** A host on which the commands that `isVictim` picks fail. */
const failing =
  (isVictim: (argv: readonly string[]) => boolean) =>
  (host: Host): Host => ({
    ...host,
    run: (argv, options) => host.run(isVictim(argv) ? ["false"] : argv, options),
  });

const isMounted = () => isMountedHere(stack.context(), stack.volume);
const isOpen = async () => (await findMapping(machine.host, machine.name("t"))) !== undefined;
const isActive = async () => (await machine.host.stat(`/dev/${machine.name("vg")}/data`)) !== undefined;

beforeAll(async () => {
  disk = await machine.disk(32);
  const declared = {
    disk,
    lvm: { vg: machine.name("vg") },
    luks: { key: "secret:k", name: machine.name("t") },
    fs: { type: "ext4" },
    mount: { point: `${machine.directory}/data` },
    dependents: ["db", "web"],
  };
  stack = new Stack(machine, "data", declared, key);
  await stack.provision();
  writeFileSync(`${stack.mountPoint}/file`, "content");
});
beforeEach(async () => {
  stack.spoil = (host) => host;
  stack.services.broken.clear();
  stack.changeKey(key);
  await stack.start();
  stack.services.asked.length = 0;
});
afterAll(() => machine.dispose());

describe("a mount that is in use", () => {
  async function hold(...argv: [string, ...string[]]) {
    const [file, ...args] = argv;
    const child = spawn(file, args, { cwd: stack.mountPoint, stdio: ["ignore", "pipe", "ignore"] });
    await once(child, "spawn");
    return child;
  }

  test("stop names who holds it, and starts again what it had stopped", async () => {
    const child = await hold("tail", "-f", "file");
    const stopped = stack.stop();
    await expect(stopped).rejects.toMatchObject({
      code: "mount-busy",
      hint: expect.stringContaining("--kill-holders"),
    });
    await expect(stopped).rejects.toThrow(`tail (pid ${child.pid}): open file ${stack.mountPoint}/file`);
    expect(child.exitCode).toBeNull();
    expect(stack.services.asked).toEqual(["stop web", "stop db", "start db", "start web"]);
    expect(stack.notes).toContain("brought up again: db, web");
    expect(await isMounted()).toBe(true);
    child.kill();
    await once(child, "exit");
  });

  test("with leaveDown what was stopped stays stopped", async () => {
    const child = await hold("sleep", "600");
    await expect(stack.stop({ leaveDown: true })).rejects.toThrow("working directory");
    expect(stack.services.running).toEqual([]);
    child.kill();
    await once(child, "exit");
  });

  test("--kill-holders ends them, also one that ignores TERM, and says so", async () => {
    const stubborn = await hold("bash", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done");
    await once(stubborn.stdout, "data");
    const meek = await hold("tail", "-f", "file");
    const ends = Promise.all([once(stubborn, "exit"), once(meek, "exit")]);
    const changes = await stack.stop({ killHolders: true });
    await ends;
    expect(Object.keys(changes)).toEqual(["dependent web", "dependent db", "mount", "mapping", "logical volume"]);
    expect([stubborn.signalCode, meek.signalCode]).toEqual(["SIGKILL", "SIGTERM"]);
    expect(stack.notes.join("\n")).toContain(`tail (pid ${meek.pid})`);
    expect(await isActive()).toBe(false);
  }, 60_000);

  test("what is mounted inside of it is named, and never taken down with it", async () => {
    mkdirSync(`${stack.mountPoint}/inner`, { recursive: true });
    await machine.sh("mount", "-t", "tmpfs", "tmpfs", `${stack.mountPoint}/inner`);
    const stopped = await stack.stop({ killHolders: true }).catch((error: unknown) => error);
    await machine.sh("umount", `${stack.mountPoint}/inner`);
    expect(stopped).toMatchObject({
      code: "device-busy",
      message: expect.stringContaining(`has tmpfs mounted on "${stack.mountPoint}/inner"`),
    });
    expect(stack.services.running).toEqual(["db", "web"]);
  });
});

describe("roll-back of a start that fails", () => {
  test.each<[string, (argv: readonly string[]) => boolean, RegExp]>([
    ["at the mount", ([program]) => program === "mount", /^rolled back: closed .*, deactivated \/dev\//u],
    ["at the opening", ([program]) => program === "cryptsetup", /^rolled back: deactivated \/dev\//u],
  ])("%s takes down what was brought up, and says so", async (_, isVictim, note) => {
    await stack.stop();
    stack.spoil = failing(isVictim);
    await expect(stack.start()).rejects.toThrow(/cannot run/u);
    expect(stack.notes.join("\n")).toMatch(note);
    expect([await isMounted(), await isOpen(), await isActive()]).toEqual([false, false, false]);
    expect(stack.services.running).toEqual([]);
  });

  test("at a dependent: the others are stopped, the volume is down again, the format stays", async () => {
    await stack.stop();
    stack.services.asked.length = 0;
    stack.services.broken.add("start web");
    await expect(stack.start()).rejects.toThrow(/cannot run/u);
    expect(stack.services.asked).toEqual(["start db", "start web", "stop web", "stop db"]);
    expect([await isMounted(), await isOpen(), await isActive()]).toEqual([false, false, false]);
    stack.services.broken.clear();
    await stack.start();
    expect((await machine.host.readFile(`${stack.mountPoint}/file`))?.toString()).toBe("content");
  });

  test("with a key that does not open it, nothing is written and nothing stays up", async () => {
    await stack.stop();
    stack.changeKey(machineKey());
    const before = hashOf(disk);
    await expect(stack.provision()).rejects.toMatchObject({ code: "wrong-key" });
    expect(hashOf(disk)).toBe(before);
    expect(await isActive()).toBe(false);
  });

  test("a stop that fails in the middle brings up again what it took down", async () => {
    stack.spoil = failing((argv) => argv.includes("close"));
    await expect(stack.stop()).rejects.toThrow(/cannot run/u);
    expect(stack.notes.join("\n")).toMatch(/brought up again: mount .*, db, web/u);
    expect(await isMounted()).toBe(true);
    expect(stack.services.running).toEqual(["db", "web"]);
  });
});

describe("I9: dependents never run on the bare mount point", () => {
  test("I9: one that runs while the volume is down is stopped first, said so, and started on the mount", async () => {
    await stack.stop();
    stack.services.set("db", "active");
    stack.services.asked.length = 0;
    await stack.start();
    expect(stack.services.asked).toEqual(["stop db", "start db", "start web"]);
    expect(stack.notes.join("\n")).toContain(`stopped db: running while "data" was not mounted`);
  });

  test("I9: it is stopped, and stays so, when the volume cannot be brought up", async () => {
    await stack.stop();
    stack.services.set("web", "active");
    stack.spoil = failing(([program]) => program === "mount");
    await expect(stack.start()).rejects.toThrow(/cannot run/u);
    expect(stack.services.running).toEqual([]);
  });

  test("I9: something else on the mount point is not the volume: nothing is started on it", async () => {
    await stack.stop();
    await machine.sh("mount", "-t", "tmpfs", "tmpfs", stack.mountPoint);
    stack.services.set("db", "active");
    await expect(stack.start()).rejects.toMatchObject({ code: "wrong-device" });
    expect(stack.services.running).toEqual([]);
    await machine.sh("umount", stack.mountPoint);
  });
});

describe("I2: what is not blank", () => {
  test.each<[string, (path: string) => Promise<unknown>, RegExp]>([
    ["a file system", (path) => machine.sh("mkfs.ext4", "-q", "-F", path), /has a file system: ext4/u],
    ["swap", (path) => machine.sh("mkswap", path), /is swap space/u],
  ])("I2: %s refuses the plan and provisioning, and is not touched", async (_, fill, finding) => {
    const other = await machine.disk(24);
    await fill(other);
    const before = hashOf(other);
    const luks = { key: "secret:k", name: machine.name("o") };
    const foreign = new Stack(machine, "other", { disk: other, lvm: { vg: machine.name("vgo") }, luks }, key);
    expect((await foreign.plan()).refusal).toMatchObject({ message: expect.stringMatching(finding) });
    await expect(foreign.provision()).rejects.toThrow(finding);
    const plain = new Stack(machine, "other", { disk: other, luks }, key);
    await expect(plain.provision()).rejects.toThrow(finding);
    expect(hashOf(other)).toBe(before);
  });

  test("I2: LUKS of somebody else is neither formatted nor left open", async () => {
    const other = await machine.disk(24);
    const options = ["--batch-mode", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file=-"] as const;
    await machine.shWith(Buffer.from("theirs"), "cryptsetup", "luksFormat", ...options, other);
    const before = hashOf(other);
    const foreign = new Stack(
      machine,
      "other",
      { disk: other, luks: { key: "secret:k", name: machine.name("o") } },
      key,
    );
    await expect(foreign.provision()).rejects.toMatchObject({ code: "wrong-key" });
    expect(hashOf(other)).toBe(before);
  });
});
