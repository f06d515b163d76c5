import { beforeEach, expect, test } from "vitest";
import { CANARY_PATH } from "../../../src/core/canary.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { sealSecret } from "../../../src/core/crypto/sealed-secret.ts";
import { AuthError } from "../../../src/core/errors.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import type { LeasePurpose } from "../../../src/core/lease-purpose.ts";
import { createLogger } from "../../../src/core/log.ts";
import { Secret } from "../../../src/core/secret.ts";
import { createLeases, type Leases } from "../../../src/minion/lease.ts";
import { createLink } from "../../../src/minion/link.ts";
import { receiptSigningBytes } from "../../../src/wire/lease-signature.ts";
import { verifySignature } from "../../../src/core/crypto/ed25519.ts";
import { FakeConnection } from "../../fakes/fake-connection.ts";
import { FakeHost } from "../../fakes/fake-host.ts";
import { HandClock } from "../master/fakes.ts";

const identity = generateIdentity();
const clock = new HandClock();
let told: string[];
let lost: string[];
let connection: FakeConnection;
let host: FakeHost;
let leases: Leases;

/** A block device in /dev and /sys, on others. */
function device(name: string, minor: number, slaves: readonly string[] = []): void {
  host
    .file(`/dev/${name}`, "", { kind: "block", rdev: `254:${minor}` })
    .link(`/sys/dev/block/254:${minor}`, `/sys/devices/block/${name}`)
    .directory(`/sys/devices/block/${name}`)
    .link(`/sys/class/block/${name}`, `/sys/devices/block/${name}`);
  for (const slave of slaves) host.directory(`/sys/devices/block/${name}/slaves/${slave}`);
}

beforeEach(() => {
  [told, lost, host] = [[], [], new FakeHost()];
  let released = 0;
  connection = new FakeConnection({
    lease: ({ ephemeral }) => {
      const sealed = sealSecret(Secret.take(Buffer.from("a key of the test")), connection.identity.dh, ephemeral);
      return { verdict: "allow", leaseId: `${(released += 1)}`, version: 1, generated: true, sealed };
    },
    "lease.receipt": (body) => {
      const signed = receiptSigningBytes(body, connection.handshakeHash);
      const isOurs = verifySignature(identity.public.signKey, signed, body.signature);
      told.push(`${body.leaseId} ${body.outcome} ${body.tookMs}${isOurs && body.wiped ? "" : " FORGED OR KEPT"}`);
      return {};
    },
  });
  leases = createLeases({
    host,
    link: createLink(connection, systemClock, () => 0),
    identity,
    bootId: "boot",
    clock,
    log: createLogger("test", "silent"),
    random: () => 0,
    waitMs: 5000,
    signal: new AbortController().signal,
    onWait: () => {},
    onLostReceipt: ({ leaseId, outcome }) => {
      lost.push(`${leaseId} ${outcome}`);
    },
  });
});

const use = (path: string, purpose: LeasePurpose = "open", ref = "secret:p", work = async () => {}) =>
  leases.lease(ref, purpose, { device: path }, async () => {
    clock.time += 40;
    await work();
  });

/** The file system on it is mounted, so many milliseconds from now. */
function mount(path: string, afterMs = 0): void {
  clock.time += afterMs;
  leases.mounted(path);
  // the look-up comes later, and does not count
  clock.time += 1000;
}

test("what was formatted and opened is mounted: a second receipt for each, after the first, with the time from key to mount", async () => {
  device("sda", 0);
  device("dm-0", 1, ["sda"]);
  host.link("/dev/disk/by-id/disk", "/dev/sda").link("/dev/mapper/data", "/dev/dm-0");
  await use("/dev/disk/by-id/disk", "format");
  await use("/dev/disk/by-id/disk");
  mount("/dev/mapper/data", 300);
  await leases.settle();
  expect(told.slice(0, 2)).toEqual(["1 formatted 40", "2 opened 40"]);
  expect(told.slice(2).sort()).toEqual(["1 mounted 380", "2 mounted 340"]);
});

test("LVM on LUKS on LVM, and a partition of an array of mappings: the leased device is found however far below", async () => {
  device("sda", 0);
  device("dm-0", 1, ["sda"]);
  device("dm-1", 2, ["dm-0"]);
  device("dm-2", 3, ["dm-1"]);
  device("sdb", 4);
  device("dm-3", 5, ["sdb"]);
  device("md0", 6, ["dm-3"]);
  host
    .file("/dev/md0p1", "", { kind: "block", rdev: "254:7" })
    .file("/sys/devices/block/md0/md0p1/partition", "1\n")
    .link("/sys/dev/block/254:7", "/sys/devices/block/md0/md0p1")
    .link("/sys/class/block/md0p1", "/sys/devices/block/md0/md0p1");
  await use("/dev/dm-0");
  await use("/dev/sdb");
  mount("/dev/dm-2");
  mount("/dev/md0p1");
  await leases.settle();
  expect(told).toEqual(["1 opened 40", "2 opened 40", "1 mounted 80", "2 mounted 1040"]);
});

test("one mount of a btrfs proves the lease of each member", async () => {
  for (const [name, minor] of [
    ["sda", 0],
    ["sdb", 1],
    ["sdc", 2],
  ] as const) {
    device(name, minor);
    device(`dm-${minor}`, 10 + minor, [name]);
    await use(`/dev/${name}`);
  }
  for (const name of ["dm-0", "dm-1"]) host.directory(`/sys/fs/btrfs/u/devices/${name}`);
  mount("/dev/dm-0");
  await leases.settle();
  expect(told.slice(3).sort()).toEqual(["1 mounted 120", "2 mounted 80"]);
});

test("a mount of something else, a second mount, and a mount of the leased device itself prove nothing", async () => {
  device("sda", 0);
  device("dm-0", 1, ["sda"]);
  device("sdb", 2);
  device("dm-1", 3, ["sdb"]);
  await use("/dev/sda");
  for (const path of ["/dev/dm-1", "/dev/sdb", "/dev/sda", "/dev/none"]) mount(path);
  await leases.settle();
  expect(told).toEqual(["1 opened 40"]);
  for (const path of ["/dev/dm-0", "/dev/dm-0"]) mount(path);
  await leases.settle();
  mount("/dev/dm-0");
  await leases.settle();
  expect(told).toEqual(["1 opened 40", "1 mounted 4040"]);
});

test.each<[string, LeasePurpose, string]>([
  ["checked", "check", "secret:p"],
  ["grown", "grow", "secret:p"],
  ["used", "rotate", "secret:p"],
  ["used", "recovery", "secret:p"],
  ["used", "open", `secret:${CANARY_PATH}`],
])("a key that was only %s (%s, %s) mounts nothing", async (outcome, purpose, ref) => {
  device("sda", 0);
  device("dm-0", 1, ["sda"]);
  await use("/dev/sda", purpose, ref);
  mount("/dev/dm-0");
  await leases.settle();
  expect(told).toEqual([`1 ${outcome} 40`]);
});

test("a lease that failed mounts nothing, nor does one whose device was closed and opened anew with another", async () => {
  device("sda", 0);
  device("dm-0", 1, ["sda"]);
  const fail = async () => Promise.reject(new Error("wrong key"));
  await expect(use("/dev/sda", "open", "secret:p", fail)).rejects.toThrow("wrong key");
  mount("/dev/dm-0");
  await use("/dev/sda");
  await use("/dev/sda");
  mount("/dev/dm-0");
  await leases.settle();
  expect(told).toEqual(["1 failed 40", "2 opened 40", "3 opened 40", "3 mounted 40"]);
});

test("where the first receipt is lost, the second is handed on behind it", async () => {
  device("sda", 0);
  device("dm-0", 1, ["sda"]);
  connection.answers["lease.receipt"] = () => {
    throw new AuthError("refused", "not now");
  };
  await use("/dev/sda");
  mount("/dev/dm-0", 20_000);
  await leases.settle();
  expect(lost).toEqual(["1 opened", "1 mounted"]);
  expect(connection.asked.filter(({ method }) => method === "lease.receipt")).toHaveLength(1);
});

test("the second receipt waits for the first", async () => {
  device("sda", 0);
  device("dm-0", 1, ["sda"]);
  const answer = Promise.withResolvers<void>();
  const take = connection.answers["lease.receipt"];
  connection.answers["lease.receipt"] = async (body) => {
    if (body.outcome === "opened") await answer.promise;
    return take?.(body) ?? {};
  };
  await use("/dev/sda");
  mount("/dev/dm-0");
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
  expect(connection.asked.filter(({ method }) => method === "lease.receipt")).toHaveLength(1);
  answer.resolve();
  await leases.settle();
  expect(told).toEqual(["1 opened 40", "1 mounted 40"]);
});

test("a look-up that fails costs the run nothing, and a later mount may still prove the lease", async () => {
  device("sda", 0);
  device("dm-0", 1, ["sda"]);
  await use("/dev/sda");
  const realPath = host.realPath.bind(host);
  host.realPath = async () => Promise.reject(new Error("/sys is broken"));
  mount("/dev/dm-0");
  await leases.settle();
  expect(told).toEqual(["1 opened 40"]);
  host.realPath = realPath;
  mount("/dev/dm-0");
  await leases.settle();
  expect(told).toEqual(["1 opened 40", "1 mounted 1040"]);
});
