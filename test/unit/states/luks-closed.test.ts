import { beforeEach, expect, test } from "vitest";
import { HostError } from "../../../src/core/errors.ts";
import { luksClosed } from "../../../src/states/luks/closed.ts";
import type { ApplyContext } from "../../../src/states/state.ts";
import { keyPathOf, type VolumeSpec } from "../../../src/states/volume/spec.ts";
import { resource } from "../../../src/states/volume/parts.ts";
import { type FakeContext, fakeContext } from "../../fakes/apply-context.ts";
import { FakeHost } from "../../fakes/fake-host.ts";

const DM = "/sys/class/block/dm-0";
const state = resource(luksClosed);
const volumes = { data: { disk: "/dev/vdb", luks: { key: "secret:volumes:data:luks:key", name: "cr" } } };
let host: FakeHost;
let asked: VolumeSpec[];
let isKept: boolean;
let context: FakeContext;

beforeEach(() => {
  host = new FakeHost()
    .file(`${DM}/dm/name`, "cr\n")
    .file(`${DM}/dm/uuid`, "CRYPT-LUKS2-0-cr\n")
    .directory(`${DM}/slaves/vdc`)
    .on(["cryptsetup", "close", "--", "cr"], () => {
      void host.remove(`${DM}/dm/name`);
      return {};
    });
  asked = [];
  isKept = true;
});

const close = (params: object, pillar: ApplyContext["pillar"] = {}) => {
  context = fakeContext(host, {
    pillar,
    assertKeyKept: async ({ force }, volume) => {
      asked.push(volume);
      if (!isKept && !force) throw new HostError("key-not-kept", "no verified copy");
    },
  });
  return state.apply(state.params.parse({ name: "cr", ...params }), context, []);
};
const isOpen = async () => (await host.stat(`${DM}/dm/name`)) !== undefined;

test.each([
  ["the pillar declares", {}, { volumes }, "/dev/vdb", "volumes:data:luks:key"],
  ["a key is given for", { key: "secret:password" }, {}, "/dev/vdc", "password"],
  ["a key and a device are given for", { key: "secret:password", device: "/dev/vdd" }, {}, "/dev/vdd", "password"],
])("I3: a mapping that %s is closed when its key is proven, else not", async (_what, params, pillar, disk, path) => {
  isKept = false;
  await expect(close(params, pillar)).rejects.toMatchObject({ code: "key-not-kept" });
  expect(await isOpen()).toBe(true);
  isKept = true;
  await close(params, pillar);
  expect(await isOpen()).toBe(false);
  const [volume] = asked;
  expect([volume?.disks, volume && keyPathOf(volume)]).toEqual([[disk], path]);
});

test("I3: one of which nobody knows the key is closed by force alone, which is noted", async () => {
  await expect(close({})).rejects.toMatchObject({ code: "key-not-kept" });
  expect(await isOpen()).toBe(true);
  await close({ force: true });
  expect(context.noted).toEqual(['forced: nothing says which stored key opens "cr" again']);
  expect(await isOpen()).toBe(false);
});
