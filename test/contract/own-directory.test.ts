import { chmodSync, chownSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { LintReport } from "../../src/core/secrets-api.ts";
import { changingIdentity } from "../../src/master/identity-content.ts";
import { startMinion } from "../../src/minion/agent.ts";
import { runCall } from "../../src/minion/call.ts";
import { configIn, type Rig, rig, scratch } from "./master/rig.ts";

const NOBODY = 65_534;
const ourGroup = (): string =>
  readFileSync("/etc/group", "utf8")
    .split("\n")
    .map((line) => line.split(":"))
    .find(([, , gid]) => gid === String(process.getgid?.()))?.[0] ?? "";
const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn("SKIPPED: directories of another user: only root can be two users");

let place: ReturnType<typeof scratch>;
let running: Rig | undefined;
const at = (name: string) => join(place.directory, name);

beforeEach(() => {
  place = scratch();
  for (const name of ["theirs", "open", "open/kept", "group", "safe"]) mkdirSync(at(name));
  chmodSync(at("open"), 0o1777);
  chmodSync(at("group"), 0o775);
});
afterEach(async () => {
  await running?.stop();
  running = undefined;
  place.remove();
});

/** Each place that others can change, and what is said of it. */
const places = (): readonly (readonly [path: string, reason: string])[] => [
  [at("open/new"), `every user may write to "${at("open")}"`],
  [at("group"), `group "${ourGroup()}" may write to "${at("group")}"`],
  [at("group/deep/new"), `group "${ourGroup()}" may write to "${at("group")}"`],
];
const unsafe = (setting: string, path: string, reason: string) => ({
  code: "unsafe-directory",
  message: `cannot use ${setting} "${path}": ${reason}`,
});

describe.each(["state_dir", "socket"] as const)("a master's %s", (setting) => {
  test("is refused where others can put files", async () => {
    const named = setting === "socket" ? "the directory of socket" : setting;
    for (const [path, reason] of places()) {
      const started = rig(place.directory, {}, { [setting]: setting === "socket" ? join(path, "socket") : path });
      await expect(started).rejects.toMatchObject(unsafe(named, path, reason));
    }
  });
});

test.each(["state_dir", "cache_dir", "run_dir"] as const)(
  "a minion's %s is refused where others can put files",
  async (setting) => {
    const { signal } = new AbortController();
    for (const [path, reason] of places()) {
      const configPath = at("minion.yaml");
      const config = {
        id: "web1",
        state_dir: at("safe/state"),
        run_dir: at("safe/run"),
        log_level: "error",
        [setting]: path,
      };
      writeFileSync(configPath, JSON.stringify(config));
      const expected = unsafe(setting, path, reason);
      await expect(startMinion({ configPath, signal })).rejects.toMatchObject(expected);
      const compileLocalPillar = async () => ({});
      const options = { configPath, signal, local: true, fileRoots: [], pillarRoots: [], compileLocalPillar };
      await expect(runCall({ ...options, fun: "test.ping", args: [], kwargs: {} })).rejects.toMatchObject(expected);
    }
  },
);

test("what is ours in a directory with the sticky bit is ours, also behind a link of ours", async () => {
  symlinkSync("open/kept", at("link"));
  running = await rig(place.directory, {}, { state_dir: at("link/state"), socket: at("open/kept/s") });
  expect(running.master.socket).toBe(at("open/kept/s"));
});

test.skipIf(!isRoot)("a directory of another user is no place for an identity", async () => {
  chownSync(at("theirs"), NOBODY, NOBODY);
  const reason = `"${at("theirs")}" belongs to user "nobody"`;
  const change = changingIdentity(at("theirs/age.key"), async () => {});
  await expect(change).rejects.toMatchObject(unsafe("the directory of the age identity", at("theirs"), reason));
});

test("a tree that others can change is told in the log and by pillar lint, and served", async () => {
  const { base } = configIn(place.directory).pillar_roots;
  for (const root of base) mkdirSync(root, { recursive: true });
  chmodSync(base[0] ?? "", 0o777);
  running = await rig(place.directory);
  const { findings } = await running.client.request<LintReport>("GET", "/v1/lint");
  expect(findings).toContainEqual({
    kind: "shared-tree",
    id: "",
    file: "",
    line: 0,
    message: `others can change what pillar_roots "${base[0]}" says to hosts: every user may write to "${base[0]}"`,
  });
});
