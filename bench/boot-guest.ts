import { spawn, spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { BenchFleet, cpuSeconds, until } from "./fleet.ts";
import { percentiles } from "./percentiles.ts";

/**
 * Runs inside a guest kernel: opens one volume again and again, once by the bare shell commands and once by a minion's
 * startup run, and prints one JSON line. Both volumes are alike: loop > PV > VG > LV > LUKS2 (pbkdf2) > ext4 > mount.
 */
const ROUNDS = 7;
const EXAMPLES = resolve(import.meta.dirname, "../examples/states");
const DISK_BYTES = 256 * 1024 * 1024;

function sh(script: string): string {
  const { status, stdout, stderr } = spawnSync("/bin/sh", ["-ec", script], { encoding: "utf8" });
  if (status !== 0) throw new Error(`${script}\n${stdout}${stderr}`);
  return stdout.trim();
}

function loopDevice(file: string): string {
  writeFileSync(file, "");
  truncateSync(file, DISK_BYTES);
  return sh(`losetup --find --show ${file}`);
}

/** The volume of the shell, with a key of its own in memory-backed /run. */
function buildShellVolume(directory: string): { readonly open: string; readonly close: string } {
  const device = loopDevice(join(directory, "shell.img"));
  const key = join(directory, "shell.key");
  sh(`umask 077; head -c 32 /dev/urandom >${key}`);
  sh(
    `pvcreate -qq ${device}; vgcreate -qq shellvg ${device}; lvcreate -qq -y -n data -l 100%FREE shellvg
     cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --luks2-keyslots-size 1m --key-file ${key} /dev/shellvg/data
     cryptsetup open --key-file ${key} /dev/shellvg/data shellcrypt; mkfs.ext4 -q /dev/mapper/shellcrypt; mkdir -p ${directory}/shell; mount /dev/mapper/shellcrypt ${directory}/shell`,
  );
  return {
    open: `vgchange -qq -ay shellvg >/dev/null; cryptsetup open --type luks2 --key-file=- /dev/shellvg/data shellcrypt <${key}; mount -t ext4 /dev/mapper/shellcrypt ${directory}/shell`,
    close: `umount ${directory}/shell; cryptsetup close shellcrypt; vgchange -qq -an shellvg >/dev/null`,
  };
}

async function timeProcess(argv: readonly [string, ...string[]]): Promise<number> {
  const [file, ...args] = argv;
  const begun = performance.now();
  const child = spawn(file, args, { stdio: "ignore" });
  await new Promise((done) => {
    child.once("close", done);
  });
  return performance.now() - begun;
}

interface Timeline {
  readonly moments: readonly { readonly what: string; readonly at: number }[];
}

/** One startup run of a fresh boot; resolves with milliseconds from process start to its end, and from its begin. */
async function startup(fleet: BenchFleet, round: number): Promise<{ whole: number; run: number; timeline: Timeline }> {
  const runDirectory = join(fleet.directory, `run-${round}`);
  const file = join(runDirectory, "timeline.json");
  const begun = Date.now();
  const minion = fleet.startMinion("boot", { startup_states: "highstate", run_dir: runDirectory });
  // seldom: the guest has one processor, and the timeline has the moments
  await until("the startup run", 120_000, () => existsSync(file), 100);
  const timeline = JSON.parse(readFileSync(file, "utf8")) as Timeline;
  minion.kill("SIGTERM");
  await until("the minion to end", 20_000, () => minion.exitCode !== null || minion.signalCode !== null);
  const at = (what: string) => timeline.moments.find((moment) => moment.what === what)?.at ?? Number.NaN;
  if (Number.isNaN(at("startup states done")))
    throw new Error(`the startup run failed: ${JSON.stringify(timeline)}\n${fleet.log("minion-boot")}`);
  return {
    whole: at("startup states done") - begun,
    run: at("startup states done") - at("startup states begin"),
    timeline,
  };
}

/** Wrappers first in the minion's PATH that note each program that is started. */
function watchPrograms(directory: string): () => readonly string[] {
  const notes = join(directory, "started");
  mkdirSync("/run/wrappers", { recursive: true });
  for (const program of [
    "lvm",
    "pvs",
    "vgs",
    "lvs",
    "pvscan",
    "vgchange",
    "lvchange",
    "cryptsetup",
    "mount",
    "blkid",
    "wipefs",
    "udevadm",
    "systemctl",
    "losetup",
    "dmsetup",
    "systemd-notify",
  ]) {
    const real = spawnSync("/bin/sh", ["-c", `command -v ${program}`], { encoding: "utf8" }).stdout.trim();
    if (real === "") continue;
    writeFileSync(`/run/wrappers/${program}`, `#!/bin/sh\necho "${program} $1" >>${notes}\nexec ${real} "$@"\n`);
    chmodSync(`/run/wrappers/${program}`, 0o755);
  }
  sh("mount --bind /run/wrappers /usr/local/sbin");
  return () => (existsSync(notes) ? readFileSync(notes, "utf8").trim().split("\n") : []);
}

const fleet = new BenchFleet();
try {
  fleet.prepare();
  const shell = buildShellVolume(fleet.directory);
  sh(shell.close);

  const device = loopDevice(join(fleet.directory, "ours.img"));
  const mountpoint = join(fleet.directory, "ours");
  cpSync(EXAMPLES, join(fleet.directory, "states"), { recursive: true });
  fleet.write("states/top.sls", "base:\n  '*': [luks]\n");
  fleet.write("pillar/top.sls", "base:\n  '*': [disk]\n");
  fleet.write(
    "pillar/disk.sls",
    `password: !generate\nvg_name: oursvg\nmountpoint: ${mountpoint}\ndev_name: ${device}\n`,
  );
  const { child: master } = await fleet.startMaster();
  const masterCpuMs = () => cpuSeconds(master.pid ?? 0) * 1000;
  await startup(fleet, 0);
  const close = `umount ${mountpoint}; cryptsetup close oursvg_crypt; vgchange -qq -an oursvg >/dev/null`;

  const shellMs: number[] = [];
  const wholeMs: number[] = [];
  const runMs: number[] = [];
  const nodeMs: number[] = [];
  let timeline: Timeline | undefined;
  const masterBefore = masterCpuMs();
  for (let round = 1; round <= ROUNDS; round += 1) {
    sh(close);
    nodeMs.push(await timeProcess([process.execPath, "-e", "0"]));
    shellMs.push(await timeProcess(["/bin/sh", "-ec", shell.open]));
    sh(shell.close);
    const ours = await startup(fleet, round);
    wholeMs.push(ours.whole);
    runMs.push(ours.run);
    timeline = ours.timeline;
  }
  const masterMs = (masterCpuMs() - masterBefore) / ROUNDS;
  sh(close);
  const started = watchPrograms(fleet.directory);
  await startup(fleet, ROUNDS + 1);
  const programs = started();
  const median = (samples: readonly number[]) => percentiles(samples).median;
  console.log(
    JSON.stringify({
      shellMs: median(shellMs),
      wholeMs: median(wholeMs),
      runMs: median(runMs),
      nodeMs: median(nodeMs),
      masterMs,
      programs,
      timeline: timeline?.moments,
    }),
  );
} finally {
  await fleet.stop().catch((error: unknown) => console.error(error));
  rmSync("/run/wrappers", { recursive: true, force: true });
}
