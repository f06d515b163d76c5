import { describe, expect, test } from "vitest";
import type { Json, JsonObject } from "../../../src/core/json.ts";
import { AuthError } from "../../../src/core/errors.ts";
import { execute } from "../../../src/minion/execute.ts";
import { parseMounts } from "../../../src/minion/functions/disk.ts";
import type { FunctionContext } from "../../../src/minion/functions/function.ts";
import { functionNames } from "../../../src/minion/functions/registry.ts";
import type { StateSelection } from "../../../src/minion/state-runner.ts";
import { FakeHost } from "../../fakes/fake-host.ts";

const runs: { readonly what: StateSelection; readonly test: boolean }[] = [];

function contextOn(host: FakeHost): FunctionContext {
  return {
    id: "web1",
    host,
    stateDir: "/var/lib/latchkey/minion",
    grains: { os: "Debian", roles: ["db", "web"], deep: { a: { b: 7 } } },
    signal: new AbortController().signal,
    pillar: async () => ({ password: "secret:password", vg: { name: "vg0" } }),
    states: {
      run: async (what, { test }) => {
        runs.push({ what, test });
        return { data: {}, retcode: 0 };
      },
      show: async () => ({ data: [], retcode: 0 }),
      showTop: async () => ({ data: {}, retcode: 0 }),
      running: async () => undefined,
    },
    volumes: {
      select: async () => [],
      context: () => Promise.reject(new Error("no volume here")),
      exclusively: async (work) => work(),
      settle: async () => {},
    },
    minion: {
      config: { stateDir: "/none/state", cacheDir: "/none/cache", runDir: "/none/run" },
      lease: async () => {
        throw new AuthError("no-master", "cannot lease without a master");
      },
      progress: () => {},
      log: () => {},
    },
  };
}

const call = (fun: string, args: readonly Json[] = [], kwargs: JsonObject = {}, host = new FakeHost()) =>
  execute({ fun, args, kwargs }, contextOn(host));

test.each<[string, readonly Json[], JsonObject, Json]>([
  ["test.ping", [], {}, true],
  ["test.false", [], {}, false],
  ["test.echo", ["x"], {}, "x"],
  ["grains.get", ["deep:a:b"], {}, 7],
  ["grains.get", ["roles:1"], {}, "web"],
  ["grains.get", ["nothing"], { default: "d" }, "d"],
  ["pillar.get", ["vg:name"], {}, "vg0"],
  ["match.glob", ["web*"], {}, true],
  ["match.grain", [], { tgt: "os:RedHat" }, false],
  ["match.compound", ["G@os:Debian and not db*"], {}, true],
  ["file.file_exists", ["/none"], {}, false],
  ["state.running", [], {}, []],
])("%s %j %j", async (fun, args, kwargs, data) => {
  expect(await call(fun, args, kwargs)).toEqual({ data, retcode: 0 });
});

test("an argument that is missing is said to be missing", async () => {
  expect((await call("cmd.run")).data).toBe('cannot run "cmd.run": it needs the argument "cmd"');
});

test("I5: pillar is shown with references", async () => {
  expect((await call("pillar.items")).data).toMatchObject({ password: "secret:password" });
});

describe("mistakes are answers", () => {
  test.each<[string, readonly Json[], JsonObject, RegExp]>([
    ["test.pin", [], {}, /unknown function, did you mean "test.ping"/u],
    ["grains.get", ["a"], { defualt: 1 }, /unknown argument "defualt", did you mean "default"/u],
    ["test.ping", ["x"], {}, /takes 0 positional arguments, got 1/u],
    ["grains.get", ["a"], { key: "b" }, /"key" is given twice/u],
    ["cmd.run", [], {}, /"cmd"/u],
  ])("%s %j %j", async (fun, args, kwargs, message) => {
    const { data, retcode } = await call(fun, args, kwargs);
    expect(data).toMatch(message);
    expect(retcode).toBe(2);
  });
});

test.each(["constructor", "__proto__", "toString", "hasOwnProperty", "test", "_send_pub", "host.run", ""])(
  "lesson: 2020-11651 only what is written out can be called, not %j",
  async (fun) => {
    expect((await call(fun)).retcode).toBe(2);
    expect(functionNames()).not.toContain(fun);
  },
);

test("cmd.run returns output and exit code", async () => {
  const host = new FakeHost().on(["/bin/sh", "-c", "exec 2>&1\nfalse"], { stdout: "no\n", exitCode: 3 });
  expect(await call("cmd.run", ["false"], {}, host)).toEqual({ data: "no", retcode: 3 });
  expect(await call("cmd.run", ["false"], { ignore_retcode: true }, host)).toEqual({ data: "no", retcode: 0 });
});

test("lesson: 2020-28243 a unit name is never an option", async () => {
  expect((await call("service.status", ["--version"])).retcode).toBe(2);
  const host = new FakeHost().on(["systemctl", "is-active", "--quiet", "--", "ssh"], { exitCode: 3 });
  expect(await call("service.status", ["ssh"], {}, host)).toEqual({ data: false, retcode: 0 });
});

test("state.apply takes names in Salt's ways", async () => {
  await call("state.apply", ["a,b", "c.d"], { test: true });
  await call("state.apply");
  await call("state.apply", [], { mods: "x" });
  expect(runs).toEqual([
    { what: { kind: "sls", names: ["a", "b", "c.d"] }, test: true },
    { what: { kind: "highstate" }, test: false },
    { what: { kind: "sls", names: ["x"] }, test: false },
  ]);
  expect(await call("state.apply", ["../etc/passwd"])).toMatchObject({ retcode: 2 });
});

test("luks.status reads the kernel's view of open mappings", async () => {
  const host = new FakeHost()
    .file("/sys/class/block/dm-0/dm/uuid", "LVM-abc\n")
    .file("/sys/class/block/dm-0/dm/name", "vg0-data\n")
    .file("/sys/class/block/dm-1/dm/uuid", "CRYPT-LUKS2-0123456789ab4cdea0123456789abcde-data\n")
    .file("/sys/class/block/dm-1/dm/name", "data\n")
    .file("/sys/class/block/dm-1/size", "2048\n")
    .file("/sys/class/block/dm-1/slaves/dm-0/size", "2048\n")
    .file("/sys/class/block/dm-0/size", "2048\n")
    .file("/proc/self/mounts", "/dev/mapper/data /srv/my\\040data ext4 rw 0 0\n");
  host.link("/sys/class/block/dm-1/slaves/dm-0", "/sys/class/block/dm-0");
  expect((await call("luks.status", ["data"], {}, host)).data).toEqual({
    active: true,
    type: "LUKS2",
    uuid: "01234567-89ab-4cde-a012-3456789abcde",
    device: "/dev/mapper/vg0-data",
    mapper: "/dev/mapper/data",
    size: 1_048_576,
    mounts: ["/srv/my data"],
  });
  expect((await call("luks.status", ["other"], {}, host)).data).toEqual({ active: false });
});

test("mount lines resolve octal escapes", () => {
  expect(parseMounts("a /b\\134c ext4 rw 0 0\n")).toEqual([{ source: "a", target: "/b\\c", type: "ext4" }]);
});
