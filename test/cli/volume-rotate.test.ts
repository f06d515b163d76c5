import { afterEach, expect, test } from "vitest";
import type { JobRequest } from "../../src/core/control-api.ts";
import type { CampaignEntry, CampaignHost, RotationEntry } from "../../src/core/volume-api.ts";
import { type FakeMaster, startFakeMaster } from "./fake-master.ts";
import { runCli } from "./run-cli.ts";

let fake: FakeMaster | undefined;
afterEach(() => fake?.close());

async function pushed(...argv: readonly string[]): Promise<Partial<JobRequest>> {
  let seen: JobRequest | undefined;
  fake = await startFakeMaster({
    job: (request) => {
      seen = request;
      return [
        { event: "start", jid: "20261122160047123456", targets: ["web1"], offline: [] },
        {
          event: "return",
          id: "web1",
          fun: request.fun,
          success: true,
          retcode: 0,
          durationMs: 5,
          data: { data: { result: true, comment: "version 2 is in keyslot 1; keyslot 0 is gone", changes: {} } },
        },
        { event: "end", succeeded: 1, failed: 0, missing: 0 },
      ];
    },
  });
  const { status, stdout } = await runCli(["volume", ...argv], { socket: fake.socket });
  expect(status).toBe(0);
  expect(stdout).toContain("version 2 is in keyslot 1; keyslot 0 is gone");
  await fake.close();
  const { target, fun, args = [], kwargs = {} } = seen ?? {};
  return { ...(target && { target }), ...(fun && { fun }), args, kwargs };
}

test("rotate pushes one job for the volumes of a target, with what the options say", async () => {
  const glob = (expr: string) => ({ kind: "glob", expr });
  expect(await pushed("rotate", "web*")).toEqual({ target: glob("web*"), fun: "volume.rotate", args: [], kwargs: {} });
  expect(await pushed("rotate", "web1/data,logs", "--keep-old")).toEqual({
    target: glob("web1"),
    fun: "volume.rotate",
    args: ["data", "logs"],
    kwargs: { keep_old: true },
  });
  expect(await pushed("rotate", "finish", "web1/data")).toMatchObject({ fun: "volume.rotate_finish", args: ["data"] });
  expect(await pushed("rotate", "rollback", "-L", "web1,web2")).toMatchObject({
    target: { kind: "list", expr: "web1,web2" },
    fun: "volume.rotate_rollback",
  });
});

test("a target that names a volume badly is refused before anything is pushed", async () => {
  fake = await startFakeMaster({});
  const { status, stderr } = await runCli(["volume", "rotate", "web1/"], { socket: fake.socket });
  expect(status).toBe(2);
  expect(stderr).toContain('cannot use the target "web1/"');
  expect(fake.requests).toEqual([]);
});

const ENTRY: RotationEntry = {
  id: "web1",
  path: "volumes:data:luks:key",
  volume: "data",
  luksUuid: "",
  from: 1,
  to: 2,
  state: "pending",
  keepOld: false,
  slot: -1,
  begunAt: 0,
  changedAt: 0,
};

test("rotate status shows who is still on the old version", async () => {
  const rotations: readonly RotationEntry[] = [
    ENTRY,
    { ...ENTRY, id: "web2", state: "committed", keepOld: true },
    { ...ENTRY, id: "web3", state: "done" },
    { ...ENTRY, id: "web4", state: "rolled-back" },
  ];
  fake = await startFakeMaster({
    json: { "/v1/rotations": { rotations }, "/v1/volumes": { volumes: [] }, "/v1/campaigns": { campaigns: [] } },
  });
  const { stdout } = await runCli(["volume", "rotate", "status"], { socket: fake.socket });
  expect(stdout).toBe(`MINION  VOLUME  VERSION  SINCE  ROTATION
web1    data    1        never  pending: still on version 1, 2 is made
web2    data    2        never  both slots kept: version 1 opens it too
web3    data    2        never  done, from version 1
web4    data    1        never  rolled back from version 2
`);
});

test("rotate --batch begins a campaign and follows it: a line a host as it ends, then the count", async () => {
  const host = (id: string, state: CampaignHost["state"], reason = ""): CampaignHost => ({ id, state, reason });
  const campaign = (state: CampaignEntry["state"], ...hosts: readonly CampaignHost[]): CampaignEntry => ({
    id: "c1",
    startedAt: 0,
    deadline: 3_600_000,
    batch: "10%",
    batchSize: 1,
    maxFailures: 2,
    keepOld: false,
    volumes: [],
    state,
    reason: state === "stopped" ? "2 hosts failed" : "",
    hosts,
  });
  const ended = [
    host("web1", "done"),
    host("web2", "failed", "the disk is gone"),
    host("web3", "offline"),
    host("web4", "skipped", "no volume to rotate"),
  ];
  const posted: [string, unknown][] = [];
  fake = await startFakeMaster({
    post: (path, body) => {
      posted.push([path, body]);
      const begun = campaign(
        "running",
        host("web1", "running"),
        ...ended.slice(1).map(({ id }) => host(id, "waiting")),
      );
      return path === "/v1/campaigns" ? begun : undefined;
    },
    json: { "/v1/campaigns": { campaigns: [campaign("stopped", ...ended)] } },
  });
  const words = ["volume", "rotate", "web*/data", "--batch", "10%", "--max-failures", "2", "--deadline", "1h"];
  const { stdout, stderr, status } = await runCli(words, { socket: fake.socket });
  expect(posted).toEqual([
    [
      "/v1/campaigns",
      {
        target: { kind: "glob", expr: "web*" },
        volumes: ["data"],
        batch: "10%",
        maxFailures: 2,
        deadlineMs: 3_600_000,
        keepOld: false,
      },
    ],
  ]);
  expect(stdout).toBe(
    [
      "web1: done",
      "web2: failed: the disk is gone",
      "web3: offline",
      "web4: skipped: no volume to rotate",
      "campaign stopped: 1 done, 1 failed, 1 offline, 1 skipped of 4 hosts (2 hosts failed)",
      "",
    ].join("\n"),
  );
  expect({ stderr, status }).toEqual({ stderr: "", status: 1 });
});
