import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { MasterStatus } from "../../src/core/control-api.ts";
import { leaseKey } from "../contract/master/rig.ts";
import { closeAll, startMinion, type TestMinion } from "../contract/wire/pair.ts";
import { RawPeer } from "../contract/wire/raw-peer.ts";
import { spawnCli, transcriptOf } from "./run-cli.ts";

const MAIN = resolve(import.meta.dirname, "../../src/main.ts");
const WAIT = { timeout: 60_000, interval: 50 };
/** Descriptors that the master may have open, those of its store, log and libraries among them. */
const DESCRIPTORS = 160;
const IDLE = 300;

let scratch = "";
let socket = "";
let master: ChildProcess;
let log = "";

const cli = async (...argv: readonly string[]) => transcriptOf(spawnCli(argv, { LATCHKEY_SOCKET: socket }));
const status = async () => JSON.parse((await cli("status", "--json")).stdout) as MasterStatus;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "latchkey-flood-"));
  socket = join(scratch, "run/master.sock");
  mkdirSync(join(scratch, "states"));
  mkdirSync(join(scratch, "pillar/hosts"), { recursive: true });
  for (const id of ["web1", "web2"]) writeFileSync(join(scratch, `pillar/hosts/${id}.yaml`), "password: !generate\n");
  const config = {
    interface: "127.0.0.1",
    ret_port: 0,
    auto_accept: true,
    state_dir: join(scratch, "state"),
    socket,
    file_roots: { base: [join(scratch, "states")] },
    pillar_roots: { base: [join(scratch, "pillar")] },
  };
  writeFileSync(join(scratch, "master.yaml"), JSON.stringify(config));
  const command = [process.execPath, MAIN, "master", "--config", join(scratch, "master.yaml")];
  master = spawn("sh", ["-c", `ulimit -n ${DESCRIPTORS}; exec "$@"`, "sh", ...command], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  master.stderr?.on("data", (chunk: Buffer) => {
    log += chunk.toString();
  });
  await vi.waitFor(status, WAIT);
});

afterAll(async () => {
  await closeAll();
  const ended = new Promise((gone) => {
    master.once("exit", gone);
  });
  master.kill("SIGTERM");
  await ended;
  rmSync(scratch, { recursive: true, force: true });
});

async function enrolled(id: string, { returnPort, fingerprint }: MasterStatus): Promise<TestMinion> {
  const minion = startMinion({ returnPort }, { id, fingerprints: [fingerprint] });
  await minion.connection.ready(AbortSignal.timeout(60_000));
  return minion;
}

test("lesson: idle connections from everywhere leave a master its descriptors, its operators their socket, its hosts their keys", async () => {
  const before = await status();
  const known = await enrolled("web1", before);
  const key = await leaseKey(known, "password", "format");
  const flood = Array.from({ length: IDLE }, async (_, n) =>
    RawPeer.bare(before.returnPort, `127.1.${n % 50}.${1 + (n % 3)}`),
  );
  const idle = await Promise.all(flood);
  await vi.waitFor(async () => expect((await status()).drops["turned-away"]).toBeGreaterThan(IDLE / 2), WAIT);
  expect(idle.filter(({ isClosed }) => !isClosed).length).toBeGreaterThan(10);
  expect((await cli("status")).stdout).toContain("turned-away");
  expect(await leaseKey(known, "password")).toEqual(key);
  const late = await enrolled("web2", before);
  expect(await leaseKey(late, "password", "format")).toBeInstanceOf(Buffer);
  const lines = log.split("\n").filter((line) => line.includes("turned-away"));
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ limit: "turned-away", count: 1 });
  expect(log).not.toContain("EMFILE");
});

test("a master's process has no ZeroMQ library in it: that is the minions'", () => {
  const maps = readFileSync(`/proc/${master.pid}/maps`, "utf8");
  expect(maps).toContain("node");
  expect(maps).not.toContain("zeromq");
});
