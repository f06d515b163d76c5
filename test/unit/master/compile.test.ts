import { expect, test } from "vitest";
import { compileForMinion } from "../../../src/master/compile.ts";

const none = { read: async () => undefined };
const withTop = {
  read: async (path: string) =>
    ({ "top.sls": Buffer.from("base:\n  '*': [a]\n"), "a.sls": Buffer.from("x: test.nopp\n") })[path],
};

test("a volumes section that no state could use is a mistake, with and without states", async () => {
  const pillar = { volumes: { data: { dsk: "/dev/vdb" } } };
  const mistake = 'cannot use volume "data" of the pillar: Unrecognized key: "dsk"';
  expect(await compileForMinion(none, { id: "web1", grains: {}, pillar })).toEqual([mistake]);
  expect(await compileForMinion(withTop, { id: "web1", grains: {}, pillar })).toEqual([
    mistake,
    expect.stringContaining('"test.nopp"'),
  ]);
  const good = { volumes: { data: { disk: "/dev/vdb" } } };
  expect(await compileForMinion(none, { id: "web1", grains: {}, pillar: good })).toEqual([]);
});
