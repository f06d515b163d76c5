import { randomInt } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LabHost } from "../../lab/host.ts";
import { Lab } from "../../lab/lab.ts";
import { beginningOf, holdAt, type Step, stepSignals } from "../../lab/minion.ts";
import { Scene, VOLUME } from "../../lab/scene.ts";

let lab: Lab;
let scene: Scene;
let host: LabHost;
beforeAll(async () => {
  lab = await Lab.create((line) => console.error(line));
  scene = await Scene.set(lab, {});
  host = await scene.addMinion("alpha", {}, { files: stepSignals() });
});
afterAll(async () => {
  await lab?.destroy();
});

const STEPS: readonly Step[] = ["pvcreate", "vgcreate", "lvcreate", "luksFormat", "mkfs", "mount"];

// Each boot takes up what the cut before it left: that the next step begins shows that the one before was mended.
test.each(STEPS)(
  "I2, I3: the power fails during %s of the first build; the next boot goes on from there",
  async (step) => {
    const mark = host.console.mark;
    // on a quick machine the step after this one would be over too by the time of the cut
    const next = STEPS[STEPS.indexOf(step) + 1];
    const goOn = next === undefined ? () => {} : holdAt(host, next);
    await host.boot();
    await host.console.waitFor(beginningOf(step), 120_000, mark);
    const delayMs = randomInt(0, 300);
    host.console.add("lab", `cutting the power ${delayMs} ms into ${step}`);
    await pause(delayMs);
    await host.powerCut();
    goOn();
    expect((await scene.keys()).map(({ state }) => state)).toEqual(["accepted"]);
  },
);

test("the boot after all those cuts builds the volume, with the one key that the master made", async () => {
  const startedAt = Date.now();
  await host.boot();
  const run = await scene.startupRun("alpha", startedAt);
  expect(run).toMatchObject({ success: true, failed: 0 });
  expect(scene.releasedKeys()).toHaveLength(1);
  await host.run(`echo written >${VOLUME.mountpoint}/file && sync`);
});

test("a cut with everything built loses nothing, and the boot after it changes nothing on the disk's layers", async () => {
  const uuid = async () => (await host.run(`cryptsetup luksUUID /dev/${VOLUME.vgName}/${VOLUME.vgName}`)).stdout;
  const before = await uuid();
  await host.powerCut();
  const mark = host.console.mark;
  const startedAt = Date.now();
  await host.boot();
  expect(await scene.startupRun("alpha", startedAt)).toMatchObject({ success: true });
  expect(await uuid()).toBe(before);
  expect((await host.read(`${VOLUME.mountpoint}/file`)).toString()).toBe("written\n");
  const made = host.console.lines.slice(mark).filter(({ text }) => /lab-step (\w+create|luksFormat|mkfs) /u.test(text));
  expect(made).toEqual([]);
  expect(scene.releasedKeys()).toHaveLength(1);
});
