import { beforeEach, expect, test } from "vitest";
import { AuthError } from "../../../../src/core/errors.ts";
import { escrowAfter } from "../../../../src/minion/volume/after-change.ts";
import { checkVolume } from "../../../../src/minion/volume/check.ts";
import { dropRawHeader, keepRawHeader } from "../../../../src/minion/volume/raw-header.ts";
import { parseVolume } from "../../../../src/states/volume/spec.ts";
import { Secret } from "../../../../src/core/secret.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";
import { luks2Bytes } from "../../../fakes/luks2-bytes.ts";
import { fakeVolumeContext } from "../../../fakes/volume-context.ts";

const FILE = "/state/volumes/data.header-before-restore";
const UUID = "0f6e2c4a-9d1b-4a53-8f0e-0123456789ab";
const volume = parseVolume("data", { disk: "/dev/sdb", luks: { key: "secret:k" } });
const header = luks2Bytes(UUID, { keyslots: { 0: {} }, config: { json_size: "12288", keyslots_size: "16384" } });
let host: FakeHost;

beforeEach(async () => {
  host = new FakeHost()
    .file("/dev/sdb", header, { kind: "block", rdev: "8:16" })
    .file("/sys/devices/sdb/size", "96\n")
    .link("/sys/dev/block/8:16", "/sys/devices/sdb")
    .link("/sys/class/block/sdb", "/sys/devices/sdb");
  await keepRawHeader(fakeVolumeContext(host, volume), "/dev/sdb", 64);
});
const isThere = async () => (await host.stat(FILE)) !== undefined;

test("what is left of a header goes when it is dropped, and dropping it twice is no error", async () => {
  expect((await host.stat(FILE))?.mode).toBe(0o600);
  const context = fakeVolumeContext(host, volume);
  await dropRawHeader(context);
  await dropRawHeader(context);
  expect(await isThere()).toBe(false);
});

test("it goes with a change of keyslots", async () => {
  await escrowAfter(fakeVolumeContext(host, volume), "operator");
  expect(await isThere()).toBe(false);
});

test.each([
  [0, false],
  [2, true],
])("it goes with a check when the key opens the header, and only then (exit %i)", async (exitCode, stays) => {
  host.on(
    [
      "cryptsetup",
      "open",
      "--test-passphrase",
      "--type",
      "luks",
      "--key-file=-",
      "--keyfile-size",
      "3",
      "--",
      "/dev/sdb",
    ],
    {
      exitCode,
    },
  );
  const context = fakeVolumeContext(host, volume, {
    lease: async (_ref, _purpose, _subject, use) => {
      using secret = Secret.take(Buffer.from("key"));
      return await use({ secret, generated: true, version: 1 });
    },
    master: () => {
      throw new AuthError("no-master", "there is no master");
    },
  });
  await checkVolume(context);
  expect(await isThere()).toBe(stays);
});
