import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  truncateSync,
} from "node:fs";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { MasterStatus } from "../src/core/control-api.ts";
import { HostError } from "../src/core/errors.ts";
import { command } from "./command.ts";
import { LabMaster } from "./master.ts";
import type { Narration } from "./narration.ts";
import { searchFile } from "./leak-search.ts";
import { needlesOf } from "../src/core/needles.ts";
import { ensurePackages, KERNEL_PACKAGES } from "./packages.ts";
import { PROJECT } from "./place.ts";
import { ensureBundle } from "./product-disk.ts";
import { makeRecoveryIdentity, recoverKeys } from "./recovery.ts";
import { makeScratch } from "./scratch.ts";
import { waitUntil } from "./wait-until.ts";

const LOOPBACK = "127.0.0.1";
const PORTS = { ret_port: 45_506 } as const;
const DISK_BYTES = 256 << 20;

/** What this demo makes on the machine, every name its own: nothing of the machine's is touched. */
interface Place {
  readonly directory: string;
  readonly group: string;
  readonly mountpoint: string;
  readonly image: string;
  device: string;
}

/** The same story on this machine's own kernel, a loop device in place of a disk and a closed device in place of a power cut. */
export async function nativeDemo(narration: Narration, signal: AbortSignal): Promise<void> {
  if (process.getuid?.() !== 0 || !opensDeviceMapper()) {
    throw new HostError("no-device-mapper", "cannot run natively: it takes root and device-mapper", {
      hint: "without --native the demo brings a kernel of its own",
    });
  }
  await ensurePackages([...KERNEL_PACKAGES, "age"], (line) => narration.tell(line));
  await ensureBundle((line) => narration.tell(line));
  const directory = makeScratch();
  const place: Place = {
    directory,
    group: `lkdemo${process.pid}`,
    mountpoint: join(directory, "mounted"),
    image: join(directory, "disk.img"),
    device: "",
  };
  let minion: ChildProcess | undefined;
  const master = await makeMaster(place);
  try {
    writeFileSync(place.image, "");
    truncateSync(place.image, DISK_BYTES);
    place.device = (await command(["losetup", "--find", "--show", place.image])).stdout.trim();
    await narration.step("the master starts", () => master.start());
    narration.chapter("First start of the minion");
    minion = await startMinion(place, master);
    await narration.step(`latchkey keys accept ${place.group}`, async () => {
      await waitUntil(
        "a key waits",
        async () => (await master.cli(["keys", "list"])).stdout.includes("pending"),
        30_000,
      );
      await master.cli(["keys", "accept", place.group, "--yes"]);
    });
    await narration.step("the startup highstate builds the volume", () => startupRun(master, 0, signal));
    narration.tell((await command(["lsblk", "--output", "NAME,TYPE,FSTYPE,SIZE,MOUNTPOINTS", place.device])).stdout);
    writeFileSync(join(place.mountpoint, "kept"), "still here\n");
    narration.chapter("The minion is killed, the volume closed as if the machine had gone");
    const again = Date.now();
    await narration.step("closing", async () => {
      await endMinion(minion);
      await closeVolume(place);
      rmSync(join(directory, "run"), { recursive: true, force: true });
    });
    minion = await startMinion(place, master);
    await narration.step("the volume is opened with a fresh lease", () => startupRun(master, again, signal));
    if (!existsSync(join(place.mountpoint, "kept"))) throw new HostError("demo-failed", "the file did not survive");
    narration.tell(narration.paint("green", "the file is still there"));
    narration.tell((await master.cli(["leases"])).stdout.trimEnd());
    search(place, master, narration);
  } finally {
    await endMinion(minion);
    await master.destroy();
    await closeVolume(place);
    if (place.device !== "") await command(["losetup", "--detach", place.device], { okCodes: [0, 1] });
    forgetGroup(place);
    rmSync(dirname(directory), { recursive: true, force: true });
  }
}

/** LVM keeps copies of a group's description beside its configuration. */
function forgetGroup({ group }: Place): void {
  for (const kind of ["archive", "backup"]) {
    const kept = join("/etc/lvm", kind);
    for (const name of existsSync(kept) ? readdirSync(kept) : []) {
      if (name === group || name.startsWith(`${group}_`)) rmSync(join(kept, name));
    }
  }
}

function opensDeviceMapper(): boolean {
  try {
    closeSync(openSync("/dev/mapper/control", "r+"));
    return true;
  } catch {
    return false;
  }
}

async function makeMaster(place: Place): Promise<LabMaster> {
  const { directory } = place;
  const pillar = join(directory, "pillar");
  for (const path of [join(pillar, "hosts"), join(directory, "master")]) mkdirSync(path, { recursive: true });
  const recovery = await makeRecoveryIdentity(directory);
  const settings = { interface: LOOPBACK, ...PORTS, recovery_recipients: [recovery.recipient] };
  return new LabMaster(join(directory, "master"), undefined, {
    fileRoots: [join(PROJECT, "examples/states")],
    pillarRoots: [pillar],
    settings,
  });
}

async function startMinion(place: Place, master: LabMaster): Promise<ChildProcess> {
  const { directory, group, mountpoint, device } = place;
  writeFileSync(
    join(directory, "pillar/hosts", `${group}.yaml`),
    `password: !generate\nvg_name: ${group}\nmountpoint: ${mountpoint}\ndev_name: ${device}\n`,
  );
  const { fingerprint } = await master.query<MasterStatus>(["status"]);
  const config = join(directory, "minion.yaml");
  const settings = {
    id: group,
    master: LOOPBACK,
    master_port: PORTS.ret_port,
    master_finger: fingerprint,
    startup_states: "highstate",
    state_dir: join(directory, "minion"),
    run_dir: join(directory, "run"),
  };
  writeFileSync(config, JSON.stringify(settings), { mode: 0o600 });
  const child = spawn(join(PROJECT, "bin/latchkey"), ["minion", "--config", config], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const log = createWriteStream(join(directory, "minion.log"), { flags: "a", mode: 0o600 });
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  return child;
}

async function endMinion(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

async function startupRun(master: LabMaster, after: number, signal: AbortSignal): Promise<void> {
  await waitUntil(
    "the startup run",
    async () => {
      signal.throwIfAborted();
      const { minions } = await master.query<MasterStatus>(["status"]);
      const run = minions[0]?.lastHighstate;
      if (!run || run.finishedAt <= after) return false;
      if (!run.success) throw new HostError("demo-failed", (await master.cli(["jobs", "show", run.jid])).stdout);
      return true;
    },
    60_000,
  );
}

/** Takes the volume apart again, innermost layer first; nothing happens where there is none. */
async function closeVolume({ group, mountpoint }: Place): Promise<void> {
  const okCodes = [0, 1, 4, 5, 32];
  await command(["umount", mountpoint], { okCodes });
  await command(["cryptsetup", "close", `${group}_crypt`], { okCodes });
  await command(["vgchange", "--quiet", "--activate", "n", group], { okCodes });
}

function search(place: Place, master: LabMaster, narration: Narration): void {
  narration.chapter("What a thief of the disk would have");
  const keys = recoverKeys(master, { file: join(place.directory, "recovery.txt"), recipient: "" });
  const needles = keys.flatMap(({ bytes }) => needlesOf(bytes));
  let hits = 0;
  for (const path of [place.image, join(place.directory, "minion.log"), master.logPath]) {
    const found = searchFile(path, needles).length;
    hits += found;
    narration.tell(`${path.slice(place.directory.length + 1).padEnd(24)} ${found} hits`);
  }
  if (keys.length === 0 || hits > 0) throw new HostError("demo-failed", "the key was found where it must not be");
}
