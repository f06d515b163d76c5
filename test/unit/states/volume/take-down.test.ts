import { beforeEach, expect, test } from "vitest";
import type { JsonObject } from "../../../../src/core/json.ts";
import { parseVolume } from "../../../../src/states/volume/spec.ts";
import { stackContext } from "../../../../src/states/volume/stack-context.ts";
import { takeDown } from "../../../../src/states/volume/take-down.ts";
import { fakeContext } from "../../../fakes/apply-context.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";

const LOOP = "/sys/class/block/loop3";
const DM = "/sys/class/block/dm-0/dm";
let host: FakeHost;
let order: string[];

beforeEach(() => {
  order = [];
  host = new FakeHost().directory("/sys/class/block");
});

async function down(layers: JsonObject): Promise<readonly string[]> {
  const beforeDown = async () => {
    order.push("left");
  };
  const context = stackContext(fakeContext(host, { beforeDown }), parseVolume("data", layers));
  return Object.keys(await takeDown(context, { killHolders: false }));
}

test("a loop device that is idle carries no service: nobody is told that it goes", async () => {
  host
    .file("/srv/d.img", Buffer.alloc(4096))
    .file("/dev/loop3", Buffer.alloc(4096), { kind: "block", rdev: "7:3" })
    .file(`${LOOP}/size`, "8\n")
    .file(`${LOOP}/loop/backing_file`, "/srv/d.img\n")
    .link("/sys/dev/block/7:3", LOOP)
    .on(["losetup", "--detach", "/dev/loop3"], () => {
      void host.remove(`${LOOP}/loop/backing_file`);
      return {};
    });
  expect(await down({ loop: { file: "/srv/d.img" }, luks: { key: "secret:k" } })).toEqual(["loop device"]);
  expect(order).toEqual([]);
});

test("I9: before an open mapping is closed, what may run on it ends", async () => {
  host
    .file(`${DM}/name`, "data\n")
    .file(`${DM}/uuid`, "CRYPT-LUKS2-0-data\n")
    .on(["cryptsetup", "close", "--", "data"], () => {
      order.push("closed");
      void host.remove(`${DM}/name`);
      return {};
    });
  expect(await down({ disk: "/dev/sdb", luks: { key: "secret:k" } })).toEqual(["mapping"]);
  expect(order).toEqual(["left", "closed"]);
});
