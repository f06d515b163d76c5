import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { secretUses } from "../../../../src/master/secrets/uses.ts";
import { PillarTree } from "../../../../src/pillar/tree.ts";

const example = resolve(import.meta.dirname, "../../../../examples/volumes");
const sourceOf = (files: Readonly<Record<string, string>>) => ({
  read: async (path: string) => (path in files ? Buffer.from(files[path] ?? "") : undefined),
});
const highstate = sourceOf({
  "top.sls": readFileSync(join(example, "states/top.sls"), "utf8"),
  "volumes.sls": readFileSync(join(example, "states/volumes.sls"), "utf8"),
});

test.each(["db3.example", "log1.example"])("every volume key of %s is used by the state of its volume", async (id) => {
  const compiled = await new PillarTree([join(example, "pillar")]).compile(id, {});
  expect(compiled.secrets.size).toBeGreaterThan(0);
  const uses = await secretUses(highstate, id, { id }, compiled);
  for (const path of compiled.secrets.keys()) {
    const volume = path.split(":")[1] ?? "";
    expect(uses?.get(path)).toEqual([`volume.running ${volume}`]);
  }
});

test("a volume that no state brings up leaves its key unused", async () => {
  const compiled = await new PillarTree([join(example, "pillar")]).compile("db3.example", {});
  const source = sourceOf({ "top.sls": "base:\n  '*': [one]\n", "one.sls": "data:\n  volume.running: []\n" });
  const uses = await secretUses(source, "db3.example", {}, compiled);
  expect(uses?.get("volumes:data:luks:key")).toEqual(["volume.running data"]);
  expect(uses?.get("volumes:vault:luks:key")).toEqual([]);
});
