import { createServer, type Server } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import type { JobEvent, JobRequest } from "../../src/core/control-api.ts";
import type { Json } from "../../src/core/json.ts";
import type { VolumeReport } from "../../src/core/volume-report.ts";
import type { LayerStatus } from "../../src/core/volume-status.ts";
import { runCli } from "./run-cli.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

interface Answers {
  readonly job: readonly JobEvent[];
  readonly volumes?: readonly object[];
  readonly headers?: readonly object[];
}

/** A master that answers jobs and lists as told, and keeps what was asked. */
async function master(answers: Answers) {
  const directory = mkdtempSync(join(tmpdir(), "latchkey-look-"));
  const socket = join(directory, "master.sock");
  const jobs: JobRequest[] = [];
  const urls: string[] = [];
  const server: Server = createServer((request, response) => {
    urls.push(request.url ?? "");
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (request.url === "/v1/jobs") {
        jobs.push(JSON.parse(Buffer.concat(chunks).toString("utf8")) as JobRequest);
        response.end(answers.job.map((event) => `${JSON.stringify(event)}\n`).join(""));
      } else if (request.url?.startsWith("/v1/headers"))
        response.end(JSON.stringify({ headers: answers.headers ?? [] }));
      else response.end(JSON.stringify({ volumes: answers.volumes ?? [] }));
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  closers.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(directory, { recursive: true, force: true });
  });
  return { socket, jobs, urls };
}

const report = (more: Partial<VolumeReport> = {}): VolumeReport => ({
  volume: "data",
  at: 1,
  state: "up",
  keyPath: "volumes:data:luks:key",
  device: "/dev/vg0/data",
  luksUuid: "2f1c0000-0000-4000-8000-000000000000",
  headerDigest: "",
  slots: [
    { slot: 0, kdf: "pbkdf2", priority: "prefer", version: 2 },
    { slot: 1, kdf: "argon2id", priority: "normal", version: 0 },
  ],
  proven: { version: 0, at: 0 },
  disk: { serial: "QM1", bytes: 21_474_836_480, pvUuids: [] },
  problems: [],
  ...more,
});
const layer = (name: string, more: Partial<LayerStatus> = {}): LayerStatus => ({
  layer: name,
  name,
  device: "",
  bytes: 0,
  state: "up",
  sub: [],
  base: [],
  exposed: [],
  details: {},
  ...more,
});
const layers = [
  layer("disk", { name: "/dev/sdb", device: "/dev/sdb", bytes: 21_474_836_480, details: { serial: "QM1" } }),
  layer("luks", {
    name: "data",
    device: "/dev/vg0/data",
    bytes: 20_401_094_656,
    details: { cipher: "aes-xts-plain64" },
  }),
  layer("fs", {
    name: "ext4",
    device: "/dev/mapper/data",
    details: { total: 1024 ** 3, used: 256 * 1024 ** 2, available: 768 * 1024 ** 2 },
  }),
  layer("mount", { name: "/srv/data", device: "/dev/mapper/data", details: { options: "rw,noatime" } }),
  layer("dependents", { name: "mariadb.service", state: "down", details: { active: "inactive" } }),
];
const start = (targets: readonly string[], offline: readonly string[] = []): JobEvent => ({
  event: "start",
  jid: "20261122160047123456",
  targets,
  offline,
});
const returned = (id: string, data: Json, success = true): JobEvent => ({
  event: "return",
  id,
  fun: "volume.status",
  success,
  retcode: success ? 0 : 1,
  data,
  durationMs: 3,
});
const end: JobEvent = { event: "end", succeeded: 1, failed: 0, missing: 0 };

test("volume status: a tree a host, with the last report of one that is offline", async () => {
  const { socket, jobs } = await master({
    job: [start(["web1", "web2"], ["web2"]), returned("web1", { data: { layers, report: report() } }), end],
    volumes: [
      { ...report(), id: "web1", heardAt: Date.now(), lastLeaseAt: Date.now() - 3 * 3_600_000 },
      {
        ...report({
          state: "down",
          problems: [{ code: "key-does-not-open", text: "the stored key does not open this volume", fatal: true }],
        }),
        id: "web2",
        heardAt: Date.now() - 5 * 3_600_000,
        lastLeaseAt: 0,
      },
    ],
  });
  const { stdout, status } = await runCli(["volume", "status", "web*/data"], { socket });
  expect(jobs).toMatchObject([{ fun: "volume.status", args: ["data"], target: { kind: "glob", expr: "web*" } }]);
  expect(stdout).toBe(
    [
      "VOLUME                            DEVICE            SIZE    STATE  DETAILS",
      "web1",
      "└─ data                           /dev/vg0/data     20 GiB  up     key version 2, last lease 3 h ago",
      "   ├─ disk                        /dev/sdb          20 GiB  up     QM1",
      "   ├─ luks data                   /dev/vg0/data     19 GiB  up     aes-xts-plain64, keyslots 0 version 2, prefer; 1 argon2id",
      "   ├─ fs ext4                     /dev/mapper/data          up     25% of 1 GiB used",
      "   ├─ mount /srv/data             /dev/mapper/data          up     rw,noatime",
      "   └─ dependents mariadb.service                            down   inactive",
      "web2                                                               offline",
      "└─ data                           /dev/vg0/data     20 GiB  down   key version 2, as reported 5 h ago",
      "   └─ !                                                     warn   the stored key does not open this volume (the next boot fails)",
      "",
    ].join("\n"),
  );
  expect(status).toBe(1);
});

test("volume status --watch draws it again and again until it is interrupted, and a re-encryption with how far it is", async () => {
  const luks = layer("luks", {
    name: "data",
    device: "/dev/vg0/data",
    bytes: 1000,
    details: { cipher: "aes-xts-plain64", reencrypted: 370 },
  });
  const status = { data: { layers: [luks], report: report({ slots: [] }) } };
  const { socket, jobs } = await master({ job: [start(["db1"]), returned("db1", status), end] });
  const stop = new AbortController();
  const options = { socket, signal: stop.signal, isTerminal: true, env: { NO_COLOR: "1" } };
  const watching = runCli(["volume", "status", "db1", "--watch", "10ms"], options);
  await expect.poll(() => jobs.length).toBeGreaterThan(2);
  stop.abort();
  const { stdout } = await watching;
  const [first, ...frames] = stdout.split("\u001b[H\u001b[2J");
  expect(first).toBe("");
  expect(frames.length).toBeGreaterThanOrEqual(2);
  expect(new Set(frames.slice(0, 2)).size).toBe(1);
  expect(frames[0]).toMatch(/^VOLUME +DEVICE +SIZE +STATE +DETAILS\ndb1/u);
  expect(frames[0]).toContain("aes-xts-plain64, 37% re-encrypted\n");
});

test("volume status --json: one document, every volume with its layers and its report", async () => {
  const { socket } = await master({
    job: [start(["web1"]), returned("web1", { data: { layers, report: report() } }), end],
  });
  const { stdout, status } = await runCli(["volume", "status", "web1", "--json"], { socket });
  expect(JSON.parse(stdout)).toMatchObject({
    web1: { online: true, volumes: { data: { report: { state: "up" }, layers: [{ layer: "disk" }, {}, {}, {}, {}] } } },
  });
  expect(status).toBe(0);
});

test("volume status: what a host says cannot steer the terminal, and a host that fails says why", async () => {
  const bad = { data: { layers: [layer("disk", { name: "\u001b[2J", device: "/dev/sdb" })], report: report() } };
  const { socket } = await master({
    job: [start(["web1", "web2"]), returned("web1", bad), returned("web2", 'cannot find volume "data"', false), end],
  });
  const { stdout, status } = await runCli(["volume", "status", "web*"], { socket });
  expect(stdout).toContain("\\x1b[2J");
  expect(stdout).toContain('web2:\n    cannot find volume "data"');
  expect(status).toBe(1);
});

test("volume devs: base, sub and exposed devices a layer", async () => {
  const data = {
    data: {
      layers: [
        { layer: "luks", name: "data", base: ["/dev/sdb"], sub: ["/dev/vg0/data"], exposed: ["/dev/mapper/data"] },
      ],
    },
  };
  const { socket } = await master({ job: [start(["web1"]), returned("web1", data), end] });
  expect(await runCli(["volume", "devs", "web1"], { socket })).toEqual({
    stdout: [
      "VOLUME     LAYER  NAME  BASE      SUB            EXPOSED",
      "web1/data  luks   data  /dev/sdb  /dev/vg0/data  /dev/mapper/data",
      "",
    ].join("\n"),
    stderr: "",
    status: 0,
  });
});

test("volume header list: versions, keyslots and which stored key opens them", async () => {
  const slot = { kdf: "pbkdf2", priority: "prefer", mark: "0".repeat(16) };
  const header = {
    id: "web1",
    volume: "data",
    version: 2,
    at: new Date(2026, 10, 22, 16, 0, 47).getTime(),
    reason: "rotate",
    bytes: 1_081_344,
    luksUuid: "2f1c",
    slots: [
      { ...slot, slot: 0, version: 2, trusted: true },
      { ...slot, slot: 1, version: 0, trusted: true },
      { ...slot, slot: 2, version: 0, trusted: false },
    ],
    proven: { version: 2, at: 1 },
  };
  const { socket, urls } = await master({ job: [], headers: [header] });
  const { stdout } = await runCli(["volume", "header", "list", "web*/data"], { socket });
  expect(urls).toEqual(["/v1/headers?match=web*&volumes=data"]);
  expect(stdout).toBe(
    [
      "MINION  VOLUME  HEADER  STORED               AFTER   SIZE     LUKS UUID  KEYSLOTS                OPENS WITH",
      "web1    data    2       2026-11-22 16:00:47  rotate  1.0 MiB  2f1c       0:v2 1:human 2:UNKNOWN  version 2",
      "",
    ].join("\n"),
  );
});

test.each([
  [["check", "web1/data"], "volume.check", {}],
  [["header", "restore", "web1/data", "--dry-run"], "volume.header_restore", { dry_run: true }],
  [["header", "restore", "web1/data", "--version", "3"], "volume.header_restore", { version: 3 }],
])("volume %j pushes the job", async (words, fun, kwargs) => {
  const { socket, jobs } = await master({ job: [start(["web1"]), returned("web1", { data: { result: true } }), end] });
  expect((await runCli(["volume", ...words], { socket })).status).toBe(0);
  expect(jobs).toMatchObject([{ fun, args: ["data"], kwargs }]);
});
