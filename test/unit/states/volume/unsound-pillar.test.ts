import { beforeEach, expect, test } from "vitest";
import type { JsonObject } from "../../../../src/core/json.ts";
import { luksClosed } from "../../../../src/states/luks/closed.ts";
import { assertOuterMounted } from "../../../../src/states/volume/outer.ts";
import { resource } from "../../../../src/states/volume/parts.ts";
import { parseVolume } from "../../../../src/states/volume/spec.ts";
import { stackContext } from "../../../../src/states/volume/stack-context.ts";
import { type FakeContext, fakeContext } from "../../../fakes/apply-context.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";

const DM = "/sys/class/block/dm-0/dm";
const pillar: JsonObject = { volumes: { other: { disk: "/dev/vdc", lusk: {} } } };
const NOTE = expect.stringContaining('the volumes of the pillar are left out: cannot use volume "other"') as string;
let asked: string[];
let context: FakeContext;

beforeEach(() => {
  asked = [];
  const host = new FakeHost()
    .file(`${DM}/name`, "data\n")
    .file(`${DM}/uuid`, "CRYPT-LUKS2-0-data\n")
    .on(["cryptsetup", "close", "--", "data"], () => {
      void host.remove(`${DM}/name`);
      return {};
    });
  context = fakeContext(host, {
    pillar,
    assertKeyKept: async (_options, { luks }) => {
      asked.push(luks?.key ?? "");
    },
  });
});

test("a stack that is given whole comes up beside a declared volume that cannot be read, which is noted", async () => {
  const given = parseVolume("data", { disk: "/dev/sdb", fs: { type: "ext4" }, mount: { point: "/srv/data" } });
  await assertOuterMounted(stackContext(context, given));
  expect(context.noted).toEqual([NOTE]);
});

test("a mapping whose key is given is closed, its key proven, beside one that cannot be read", async () => {
  const { params, apply } = resource(luksClosed);
  await apply(params.parse({ name: "data", device: "/dev/sdb", key: "secret:k" }), context, []);
  expect(asked).toEqual(["secret:k"]);
  expect(context.noted).toEqual([NOTE]);
});

test("without its key nobody can tell whose mapping it is: it stays open", async () => {
  const { params, apply } = resource(luksClosed);
  await expect(apply(params.parse({ name: "data" }), context, [])).rejects.toMatchObject({ code: "bad-volume" });
  expect(await context.host.stat(`${DM}/name`)).toBeDefined();
});
