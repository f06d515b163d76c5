import { HostError } from "../src/core/errors.ts";
import { searchFile } from "./leak-search.ts";
import type { LabHost } from "./host.ts";
import { Lab } from "./lab.ts";
import type { Narration } from "./narration.ts";
import { needlesOf } from "../src/core/needles.ts";
import { labObstacle } from "./obstacle.ts";
import { Scene, VOLUME } from "./scene.ts";
import { type Happening, type Moment, timelineOf, timelineTable } from "./timeline.ts";
import { waitUntil } from "./wait-until.ts";

const MOMENTS: readonly Moment[] = [
  { label: "kernel up", pattern: /^kernel started/u },
  { label: "minion started", pattern: /^minion process started/u },
  { label: "connected to the master", pattern: /^connected to the master/u },
  { label: "key leased", pattern: /^key leased/u },
  { label: "volume opened", pattern: /^luks\.opened/u },
  { label: "file system mounted", pattern: /^mount\.mounted/u },
  { label: "MariaDB ready", pattern: /Started mariadb\.service/u },
  { label: "volumes target reached", pattern: /Reached target latchkey-volumes\.target/u },
];

const ROW = "the row that outlived a power cut";

/** The demo on a lab host; rejects when anything in it does not hold. */
export async function labDemo(narration: Narration, signal: AbortSignal): Promise<void> {
  narration.chapter("A lab: one master, one host with a blank disk");
  const { lab } = await narration.step("packages, root file system, network", async () => {
    const obstacle = await labObstacle(narration.stage);
    if (obstacle !== undefined) {
      throw new HostError("no-lab", `no lab can be made here: ${obstacle}`, {
        hint: "on a machine with device-mapper, `npm run demo -- --native` (as root) does it on a loop device",
      });
    }
    return { lab: await Lab.create(narration.stage) };
  });
  const stop = () => void lab.destroy();
  signal.addEventListener("abort", stop, { once: true });
  try {
    await tell(lab, narration, signal);
  } finally {
    signal.removeEventListener("abort", stop);
    await lab.destroy();
  }
}

async function tell(lab: Lab, narration: Narration, signal: AbortSignal): Promise<void> {
  const scene = await narration.step("the master starts", () =>
    Scene.set(lab, { autoAccept: false, dependents: ["mariadb"] }),
  );
  const host = await scene.addMinion("alpha");
  const follow = setInterval(() => narration.detail(host.console.lines.at(-1)?.text ?? ""), 100);
  try {
    narration.chapter("First boot");
    await firstBoot(scene, host, narration);
    const first = timelineOf(host.console.lines, 1, MOMENTS, await minionTimeline(host));
    signal.throwIfAborted();
    narration.chapter("The power fails");
    await secondBoot(scene, host, narration);
    narration.chapter("Seconds after power on");
    const second = timelineOf(host.console.lines, 2, MOMENTS, await minionTimeline(host));
    narration.tell(timelineTable({ "first boot": first, "second boot": second }));
    narration.chapter("What a thief of the disks would have");
    await search(scene, host, narration);
  } finally {
    clearInterval(follow);
  }
}

/** The moments that the minion itself noted in this boot. */
async function minionTimeline(host: LabHost): Promise<readonly Happening[]> {
  const { moments } = JSON.parse((await host.read("/run/latchkey/timeline.json")).toString()) as {
    readonly moments: readonly { readonly what: string; readonly at: number }[];
  };
  return moments.map(({ what, at }) => ({ text: what, at }));
}

async function firstBoot(scene: Scene, host: LabHost, narration: Narration): Promise<void> {
  const startedAt = Date.now();
  await narration.step("the host boots; its minion's key waits at the master", async () => {
    await host.boot();
    await waitUntil("a key waits", async () => (await scene.keys()).some(({ id }) => id === host.name), 120_000);
  });
  narration.tell((await scene.master.cli(["keys", "list"])).stdout.trimEnd());
  await narration.step(`latchkey keys accept ${host.name}`, () =>
    scene.master.cli(["keys", "accept", host.name, "--yes"]),
  );
  await narration.step("the startup highstate builds the volume and starts MariaDB on it", () =>
    succeeded(scene, host, startedAt),
  );
  narration.tell((await host.run("lsblk --output NAME,TYPE,FSTYPE,SIZE,MOUNTPOINTS /dev/ubdb")).stdout.trimEnd());
  await narration.step("a row is written", () =>
    host.run(
      `mariadb -e "create database demo; create table demo.kept (word text); insert into demo.kept values ('${ROW}')"`,
    ),
  );
}

async function secondBoot(scene: Scene, host: LabHost, narration: Narration): Promise<void> {
  await narration.step("power cut", () => host.powerCut());
  const startedAt = Date.now();
  await narration.step("the host boots again and opens its volume with a fresh lease", async () => {
    await host.boot();
    await succeeded(scene, host, startedAt);
  });
  const row = (await host.run("mariadb --batch --skip-column-names -e 'select word from demo.kept'")).stdout.trim();
  if (row !== ROW) throw new HostError("demo-failed", `the row did not survive: found "${row}"`);
  narration.tell(`${narration.paint("green", "the row is still there:")} ${row}`);
  narration.tell((await scene.master.cli(["leases"])).stdout.trimEnd());
}

async function succeeded(scene: Scene, host: LabHost, startedAt: number): Promise<void> {
  const run = await scene.startupRun(host.name, startedAt);
  if (!run.success) {
    const { stdout } = await scene.master.cli(["jobs", "show", run.jid], { okCodes: [0, 1] });
    throw new HostError("demo-failed", `the startup states failed\n${stdout}`);
  }
  const boot = host.console.lines.findLastIndex(({ text }) => text === "power on");
  await host.console.waitFor(/Started mariadb\.service/u, 60_000, boot);
  await host.console.waitFor(/Reached target latchkey-volumes\.target/u, 60_000, boot);
}

async function search(scene: Scene, host: LabHost, narration: Narration): Promise<void> {
  await host.run("sync");
  await host.powerCut();
  const keys = scene.releasedKeys();
  const needles = keys.flatMap(({ bytes }) => needlesOf(bytes));
  let hits = 0;
  for (const [name, path] of [
    ["the root disk", host.rootDisk],
    [`the data disk (${VOLUME.device})`, host.dataDisk],
    ["the console and the journal", host.console.path],
    ["the master's log", scene.master.logPath],
  ] as const) {
    const found = searchFile(path, needles);
    hits += found.length;
    narration.tell(
      `${name.padEnd(30)} ${found.length === 0 ? narration.paint("green", "0 hits") : `${found.length} HITS`}`,
    );
  }
  const forms = new Set(needles.map(({ form }) => form)).size;
  narration.tell(
    `searched for ${keys.length} key in ${forms} forms (raw, hex, base64 at every alignment, …): ${hits} hits`,
  );
  if (keys.length === 0 || hits > 0) throw new HostError("demo-failed", "the key was found where it must not be");
}
