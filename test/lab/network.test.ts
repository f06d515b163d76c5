import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LabHost } from "../../lab/host.ts";
import { Lab } from "../../lab/lab.ts";
import { beginningOf, holdAt, stepSignals } from "../../lab/minion.ts";
import { Scene, VOLUME } from "../../lab/scene.ts";
import { waitUntil } from "../../lab/wait-until.ts";
import { fingerprint } from "../../src/core/identity.ts";

const MINUTE_MS = 60_000;
let lab: Lab;
let scene: Scene;
let host: LabHost;
let stranger: LabHost;
beforeAll(async () => {
  lab = await Lab.create((line) => console.error(line));
  scene = await Scene.set(lab, {});
  host = await scene.addMinion("alpha", {}, { files: stepSignals() });
  const other = fingerprint({ signKey: randomBytes(32), dhKey: randomBytes(32) });
  stranger = await scene.addMinion("beta", { master_finger: other });
});
afterAll(async () => {
  await lab?.destroy();
});

test("a master that is down at boot and back a minute later: the host waits, then builds; a partition holds it up, not more", async () => {
  await scene.master.stop();
  const startedAt = Date.now();
  const [goOn, mount] = [holdAt(host, "pvcreate"), holdAt(host, "mount")];
  await Promise.all([host.boot(), stranger.boot()]);
  await host.console.waitFor(/"kind":"connecting".*"attempt":8/u, 150_000);
  await waitUntil("a minute is over", () => Date.now() - startedAt > MINUTE_MS, 2 * MINUTE_MS);
  await scene.master.start();
  // the cable is out before the first lease: the run waits for the master, in words
  await host.console.waitFor(beginningOf("pvcreate"), 60_000);
  await lab.network.disconnect(host.tap);
  const { mark } = host.console;
  goOn();
  await host.console.waitFor(/"msg":"waiting: /u, 90_000, mark);
  expect(await scene.leases()).toEqual([]);
  await lab.network.reconnect(host.tap);
  // and out again once the key was used: the run ends by itself, its return waits
  await host.console.waitFor(beginningOf("mount"), 120_000);
  await lab.network.disconnect(host.tap);
  mount();
  await host.console.waitFor(/"msg":"job done"/u, 90_000);
  await host.run(`mountpoint ${VOLUME.mountpoint}`);
  await lab.network.reconnect(host.tap);
  expect(await scene.startupRun("alpha", startedAt)).toMatchObject({ success: true, failed: 0 });
});

test("I6: a host with a wrong pinned fingerprint gets nothing from this master, and tells it nothing", async () => {
  await stranger.console.waitFor(/nothing is told to it/u, 60_000);
  expect((await scene.keys()).map(({ id }) => id)).toEqual(["alpha"]);
  expect((await scene.leases()).filter(({ id }) => id !== "alpha")).toEqual([]);
  expect((await stranger.run("blkid /dev/ubdb", { okCodes: [2] })).stdout).toBe("");
  expect((await stranger.run("ls /run/latchkey/volumes-ready", { okCodes: [2] })).stdout).toBe("");
});
