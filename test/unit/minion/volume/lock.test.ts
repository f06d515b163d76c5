import { beforeEach, expect, test } from "vitest";
import { lockVolume } from "../../../../src/minion/volume/lock.ts";
import type { VolumeContext } from "../../../../src/minion/volume/runner.ts";
import { parseVolume } from "../../../../src/states/volume/spec.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";
import { fakeVolumeContext } from "../../../fakes/volume-context.ts";

const DM = "/sys/class/block/dm-0/dm";
const volume = parseVolume("data", { disk: "/dev/sdb", luks: { key: "secret:k" } });
let host: FakeHost;
let looks: number;
let time: number;

beforeEach(() => {
  host = new FakeHost().directory("/sys/class/block").on(["cryptsetup", "close", "--", "data"], () => {
    void host.remove(`${DM}/name`);
    return {};
  });
  looks = 0;
  time = 0;
});

/** A run that opens the volume at the given look, and ends with it. */
function lockBeside(opensAt: number): ReturnType<typeof lockVolume> {
  const clock: VolumeContext["machine"]["clock"] = {
    now: () => time,
    monotonicMs: () => time,
    sleep: async (ms) => {
      time += ms;
    },
  };
  const { machine, ...context } = fakeVolumeContext(host, volume);
  const at = { ...context, machine: { ...machine, clock } };
  return lockVolume(at, async () => {
    looks += 1;
    if (looks === opensAt) host.file(`${DM}/name`, "data\n").file(`${DM}/uuid`, "CRYPT-LUKS2-0-data\n");
    return looks >= opensAt ? undefined : "a highstate is running";
  });
}

test.each([1, 4])("a volume that a run opens with a key from before the lock is closed (look %i)", async (opensAt) => {
  expect(await lockBeside(opensAt)).toMatchObject({ result: true, comment: "closed" });
  expect(await host.stat(`${DM}/name`)).toBeUndefined();
});

test("one that is closed while nothing runs stays so, and is not waited for", async () => {
  expect(await lockVolume(fakeVolumeContext(host, volume), async () => undefined)).toMatchObject({
    comment: "it was closed already",
  });
  expect(host.runs).toEqual([]);
});

test("a run that has no key is waited for ten seconds, and no longer", async () => {
  expect(await lockBeside(Number.POSITIVE_INFINITY)).toMatchObject({ comment: "it was closed already" });
  expect(time).toBe(10_000);
});
