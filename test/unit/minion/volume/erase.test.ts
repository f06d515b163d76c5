import { expect, test } from "vitest";
import { eraseVolume } from "../../../../src/minion/volume/erase.ts";
import { parseVolume } from "../../../../src/states/volume/spec.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";
import { luks2Bytes } from "../../../fakes/luks2-bytes.ts";
import { fakeVolumeContext } from "../../../fakes/volume-context.ts";

const A = "aaaaaaaa-9d1b-4a53-8f0e-0123456789ab";
const B = "bbbbbbbb-9d1b-4a53-8f0e-0123456789ab";

test.each([false, true])(
  "I3: with its disk pulled and its name another's, no keyslot is killed (force: %s)",
  async (force) => {
    const host = new FakeHost().file("/dev/sdb", luks2Bytes(B, { keyslots: { 0: {} } })).directory("/sys/class/block");
    const volume = parseVolume("a", { disk: "/dev/sdb", luks: { key: "secret:a" } });
    const context = fakeVolumeContext(host, volume);
    context.journal.set("volume-identity:a", { luksUuid: A, fsUuid: "", bases: [] });
    await expect(eraseVolume(context, { force })).rejects.toMatchObject({
      code: "wrong-device",
      message: expect.stringContaining(
        `was provisioned with LUKS UUID ${A}, and "/dev/sdb" has LUKS UUID ${B}`,
      ) as string,
    });
    expect(host.runs).toEqual([]);
  },
);
