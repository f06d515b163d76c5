import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { cached } from "../../lab/cached.ts";

const CACHED = resolve(import.meta.dirname, "../../lab/cached.ts");
let place = "";

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "latchkey-cache-"));
  vi.stubEnv("XDG_CACHE_HOME", place);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(place, { recursive: true, force: true });
});

const whole = async (work: string): Promise<string> => {
  expect(readdirSync(work)).toEqual([]);
  writeFileSync(join(work, "made"), "whole");
  return work;
};

test("what several ask for at once is made once", async () => {
  const make = vi.fn<typeof whole>(whole);
  const paths = await Promise.all(["a", "a", "b", "a"].map((key) => cached("thing", key, make)));
  expect(paths.map((path) => readFileSync(join(path, "made"), "utf8"))).toEqual(Array(4).fill("whole"));
  expect(make).toHaveBeenCalledTimes(2);
});

test("what failed half-way is not there, and made anew", async () => {
  const half = async (work: string): Promise<string> => {
    writeFileSync(join(work, "made"), "half");
    throw new Error("no more room");
  };
  await expect(cached("thing", "a", half)).rejects.toThrow("no more room");
  expect(existsSync(join(place, "latchkey-lab/thing-a"))).toBe(false);
  expect(readFileSync(join(await cached("thing", "a", whole), "made"), "utf8")).toBe("whole");
});

test("a maker that is killed holds nobody up and leaves nothing that is taken for whole", async () => {
  const script = `const { cached } = await import(${JSON.stringify(CACHED)});
    const { writeFileSync } = await import("node:fs");
    await cached("thing", "a", async (work) => {
      writeFileSync(work + "/made", "half");
      console.log("half-way");
      await new Promise(() => setInterval(() => {}, 1000));
    });`;
  const maker = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(maker, "exit");
  await once(maker.stdout, "data");
  const waiting = cached("thing", "a", whole);
  maker.kill("SIGKILL");
  await ended;
  expect(readFileSync(join(await waiting, "made"), "utf8")).toBe("whole");
  expect(readdirSync(join(place, "latchkey-lab")).sort()).toEqual(["thing-a", "thing.lock"]);
});
