import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "../../..");

function memorySettings(file: string): readonly string[] {
  return readFileSync(resolve(ROOT, file), "utf8").match(/MALLOC_ARENA_MAX=\d+|--\S+semi-space-size=\d+/gu) ?? [];
}

test("a master has the same settings for its memory, however it is started: its unit begins with the launcher", () => {
  const unit = readFileSync(resolve(ROOT, "systemd/latchkey-master.service"), "utf8");
  expect(unit).toMatch(/^ExecStart=\/opt\/latchkey\/bin\/latchkey master /mu);
  expect(memorySettings("systemd/latchkey-master.service")).toEqual([]);
  expect(memorySettings("bin/latchkey")).toHaveLength(2);
});
