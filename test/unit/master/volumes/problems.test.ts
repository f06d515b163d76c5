import { expect, test } from "vitest";
import type { VolumeProblem, VolumeReport } from "../../../../src/core/volume-report.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { Volumes } from "../../../../src/master/volumes/volumes.ts";
import { systemClock } from "../../../../src/core/clock.ts";

const bad: VolumeProblem = { code: "key-does-not-open", text: "the stored key does not open this volume", fatal: true };
const slight: VolumeProblem = { code: "unknown-slot", text: "keyslot 2", fatal: false };
const report = (problems: VolumeProblem[]): VolumeReport => ({
  volume: "data",
  at: 1,
  state: "up",
  keyPath: "key",
  device: "/dev/sdb",
  luksUuid: "u",
  headerDigest: "",
  slots: [],
  proven: { version: 0, at: 0 },
  disk: { serial: "", bytes: 0, pvUuids: [] },
  problems,
});

test("a problem is raised once, when it is new, and again when it comes back; fatal ones are listed for accepted hosts", async () => {
  const heard: string[] = [];
  const store = new MemoryStore();
  const volumes = await Volumes.load(store, systemClock, (id, volume, { code }) =>
    heard.push(`${id}/${volume} ${code}`),
  );
  await volumes.report("web1", [report([slight])]);
  await volumes.report("web1", [report([slight, bad])]);
  await volumes.report("web1", [report([slight, bad])]);
  expect(heard).toEqual(["web1/data unknown-slot", "web1/data key-does-not-open"]);
  expect(volumes.failing(["web1"])).toMatchObject([{ id: "web1", volume: "data", problems: [{ code: bad.code }] }]);
  expect(volumes.failing(["web2"])).toEqual([]);
  await volumes.report("web1", [report([])]);
  expect(volumes.failing(["web1"])).toEqual([]);
  await volumes.report("web1", [report([bad])]);
  expect(heard.slice(2)).toEqual(["web1/data key-does-not-open"]);
});
