import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "../../..");

function memorySettings(file: string): readonly string[] {
  return readFileSync(resolve(ROOT, file), "utf8").match(/MALLOC_ARENA_MAX=\d+|--\S+semi-space-size=\d+/gu) ?? [];
}

test("a master has the same settings for its memory, however it is started", () => {
  const settings = memorySettings("systemd/latchkey-master.service");
  expect(settings).toHaveLength(2);
  expect(memorySettings("bin/latchkey")).toEqual(settings);
});
