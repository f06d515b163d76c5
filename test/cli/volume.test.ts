import { afterEach, describe, expect, test } from "vitest";
import type { JobEvent, JobRequest } from "../../src/core/control-api.ts";
import type { Json } from "../../src/core/json.ts";
import { type FakeMaster, startFakeMaster } from "./fake-master.ts";
import { runCli } from "./run-cli.ts";

const JID = "20261122160047123456";
const masters: FakeMaster[] = [];
afterEach(async () => {
  await Promise.all(masters.splice(0).map((master) => master.close()));
});

/** Runs a command against a master on which one host answers with `data`. */
async function volume(words: readonly string[], data: Json = {}, success = true, answers: readonly string[] = []) {
  let request: JobRequest | undefined;
  const job = (asked: JobRequest): readonly JobEvent[] => {
    request = asked;
    return [
      { event: "start", jid: JID, targets: ["db1"], offline: [] },
      { event: "return", id: "db1", fun: asked.fun, success, retcode: success ? 0 : 1, data, durationMs: 3 },
      { event: "end", succeeded: success ? 1 : 0, failed: success ? 0 : 1, missing: 0 },
    ];
  };
  const master = await startFakeMaster({ job });
  masters.push(master);
  const transcript = await runCli(["volume", ...words], { socket: master.socket, answers });
  return { ...transcript, request };
}

describe("what is asked of the master", () => {
  test.each<[readonly string[], Partial<JobRequest>]>([
    [["plan", "db*"], { target: { kind: "glob", expr: "db*" }, fun: "volume.plan", kwargs: {} }],
    [["provision", "db1/data"], { fun: "volume.provision", args: ["data"], kwargs: {} }],
    [["start", "db1/data,logs"], { fun: "volume.start", args: ["data", "logs"] }],
    [["stop", "-L", "db1,db2/data"], { target: { kind: "list", expr: "db1,db2" }, args: ["data"] }],
    [["stop", "db1", "--kill-holders"], { fun: "volume.stop", kwargs: { kill_holders: true } }],
    [["stop", "db1", "--force"], { fun: "volume.stop", kwargs: { force: true } }],
    [["restart", "-G", "role:db"], { target: { kind: "grain", expr: "role:db" }, fun: "volume.restart" }],
  ])("%j", async (words, expected) => {
    expect((await volume(words)).request).toMatchObject(expected);
  });

  test.each<[string, readonly string[]]>([
    ["an empty volume", ["start", "db1/"]],
    ["no minion", ["start", "/data"]],
    ["a volume that climbs", ["start", "db1/../x"]],
    ["both kinds of target", ["start", "db1", "-L", "-G"]],
  ])("%s is refused before anything is sent", async (_, words) => {
    const { status, stderr, request } = await volume(words);
    expect({ status, asked: request }).toEqual({ status: 2, asked: undefined });
    expect(stderr).toContain("cannot use");
  });
});

describe("unprovision", () => {
  test("asks for the volume's name, and sends it a second time", async () => {
    const { request, stderr } = await volume(["unprovision", "db1/data", "--kill-holders"], {}, true, ["data"]);
    expect(request).toMatchObject({
      fun: "volume.unprovision",
      args: ["data"],
      kwargs: { confirm: ["data"], kill_holders: true },
    });
    expect(stderr).toContain(
      'This stops volume "data" on db1, erases its keyslots and removes it: what is on it is lost.',
    );
  });

  test.each(["", "y", "yes", "Data", "logs"])("%j in place of the name does nothing", async (answer) => {
    const { request, status, stderr } = await volume(["unprovision", "db1/data"], {}, true, [answer]);
    expect({ request, status }).toEqual({ request: undefined, status: 1 });
    expect(stderr).toContain("nothing was done");
  });

  test("with --yes and the name nobody is asked", async () => {
    const { request } = await volume(["unprovision", "db1/data,logs", "--yes", "data,logs"]);
    expect(request?.kwargs).toEqual({ confirm: ["data", "logs"] });
  });

  test.each<[string, readonly string[]]>([
    ["another name after --yes", ["unprovision", "db1/data", "--yes", "logs"]],
    ["nobody to ask", ["unprovision", "db1/data"]],
    ["no volume named, so that all would go", ["unprovision", "db1", "--yes", "data"]],
  ])("%s is refused before anything is sent", async (_, words) => {
    const { status, request } = await volume(words);
    expect({ status, request }).toEqual({ status: 2, request: undefined });
  });
});

const change = (from: Json, to: Json) => ({ old: from, new: to });

test("what was done is shown a volume at a time", async () => {
  const { stdout, status } = await volume(["start", "db1"], {
    data: {
      result: true,
      comment: "up",
      changes: { mapping: change(null, "/dev/mapper/data"), mount: change(null, "/srv/data") },
      notes: [],
      ms: 1234,
    },
    logs: { result: true, comment: "up already: nothing was done", changes: {}, notes: [], ms: 3 },
  });
  expect(status).toBe(0);
  expect(stdout).toBe(`db1:
    data: up (1.2 s)
        mapping  - > /dev/mapper/data
        mount    - > /srv/data
    logs: up already: nothing was done
`);
});

test("a failure says what holds the mount, and what was rolled back", async () => {
  const { stdout, status } = await volume(
    ["stop", "db1/data"],
    {
      data: {
        result: false,
        comment:
          'cannot unmount "/srv/data": it is in use by\n  bash (pid 11): working directory /srv/data\nhint: end them, or stop with --kill-holders',
        changes: {},
        notes: ["brought up again: mariadb"],
        ms: 40,
      },
    },
    false,
  );
  expect(status).toBe(1);
  expect(stdout).toBe(`db1:
    data: FAILED: cannot unmount "/srv/data": it is in use by
        bash (pid 11): working directory /srv/data
      hint: end them, or stop with --kill-holders
        brought up again: mariadb
`);
});

test("a plan marks what writes with the device's serial and size and what is on it", async () => {
  const step = { layer: "pv", subject: "/dev/vdb", from: "-", to: "/dev/vdb", destructive: true, seen: true };
  const device = { path: "/dev/vdb", serial: "QM0001", size: "10G", found: "it is blank: no signature, not in use" };
  const mount = { layer: "mount", what: "mount", subject: "/srv/data", from: "-", to: "mounted" };
  const { stdout } = await volume(["plan", "db1"], {
    data: {
      result: true,
      comment: "provision would make it",
      steps: [
        { ...step, what: "physical volume /dev/vdb", device },
        { ...mount, destructive: false, seen: false },
      ],
    },
    old: { result: false, comment: 'cannot format "/dev/vdc": it has a file system: ext4', steps: [] },
  });
  expect(stdout).toBe(`db1:
    data: provision would make it
       1. physical volume /dev/vdb: /dev/vdb  WRITES
          on /dev/vdb, serial QM0001, 10G: it is blank: no signature, not in use
       2. mount /srv/data: mounted  (foreseen)
    old: REFUSED: cannot format "/dev/vdc": it has a file system: ext4
    foreseen: it follows from the layers below, which are not there yet to be looked at
`);
});

test("lesson: 2025-22236 what a host answers cannot write to the terminal but as text", async () => {
  const { stdout } = await volume(["start", "db1"], {
    "da\u001b[2Jta": { result: true, comment: "up\u001b]0;x\u0007", changes: {}, notes: ["\u001b[31mred"], ms: 1 },
  });
  expect(stdout).not.toContain("\u001b");
});
