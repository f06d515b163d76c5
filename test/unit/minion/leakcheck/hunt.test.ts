import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { maskNeedles } from "../../../../src/core/masked-needles.ts";
import { Hunt, type HuntLimits } from "../../../../src/minion/leakcheck/hunt.ts";

const MIB = 2 ** 20;
const CANARY = Buffer.from("a canary that is long enough to be searched for");
const needles = maskNeedles(CANARY);
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-hunt-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const hunt = (limits: Partial<HuntLimits> = {}) =>
  new Hunt("temp", needles, { bytes: 1e12, begunMs: Date.now() + 60_000, ends: () => false, ...limits });
const at = (name: string) => join(directory, name);

test("what is left out for the same reason is said once", () => {
  const one = hunt();
  for (let n = 0; n < 50; n += 1) one.skip("the machine has no swap");
  expect(one.report().skipped).toEqual(["the machine has no swap"]);
});

const AS_NOBODY = new URL("peek-as-nobody.ts", import.meta.url).pathname;

test("files of /proc that may not be read are one line, however often they are met", () => {
  for (const name of ["one", "two", "three"]) {
    writeFileSync(at(name), "x");
    chmodSync(at(name), 0);
  }
  chmodSync(directory, 0o755);
  // root reads them all: a process of its own gives that up
  const argv = ["--disable-warning=ExperimentalWarning", AS_NOBODY, ...["one", "two", "three"].map(at)];
  const skipped = execFileSync(process.execPath, argv, { encoding: "utf8" });
  expect(JSON.parse(skipped)).toEqual([`${at("one")} and 2 like it: not allowed`]);
});

test("a place larger than its bytes: how much of how much was searched, and the youngest files", async () => {
  for (let age = 0; age < 6; age += 1) {
    writeFileSync(at(`${age}`), Buffer.alloc(MIB, "x"));
    utimesSync(at(`${age}`), 0, 0);
  }
  // the last to be changed is the first to be searched
  writeFileSync(at("0"), CANARY, { flag: "a" });
  const told: [number, number][] = [];
  const one = hunt({ bytes: 2 * MIB, searched: (bytes, of) => told.push([bytes, of]) });
  await one.trees([directory]);
  const { bytes, of, hits, skipped } = one.report();
  expect(bytes).toBeGreaterThanOrEqual(2 * MIB);
  expect(bytes).toBeLessThan(4 * MIB);
  expect(of).toBe(6 * MIB + CANARY.length);
  expect(hits).toMatchObject([{ where: at("0"), offset: MIB }]);
  expect(skipped).toEqual(["4 larger or older files: as many bytes are searched as may be (--max-mib)"]);
});

test("a place that time is too short for says so", async () => {
  writeFileSync(at("big"), Buffer.alloc(3 * MIB, "x"));
  let looks = 0;
  const one = hunt({ ends: () => (looks += 1) > 2 });
  await one.trees([directory]);
  expect(one.report()).toMatchObject({
    of: 3 * MIB,
    skipped: [`${at("big")} from offset ${MIB}: out of time (--time)`],
  });
});

test("progress is told as it goes, and a whole place is searched whole", async () => {
  for (const name of ["one", "two"]) writeFileSync(at(name), Buffer.alloc(20 * MIB, "x"));
  const told: number[] = [];
  const one = hunt({ searched: (bytes) => told.push(bytes) });
  await one.trees([directory]);
  const { bytes, of, skipped } = one.report();
  expect({ bytes, of, skipped }).toEqual({ bytes: 40 * MIB, of: 40 * MIB, skipped: [] });
  expect(told).toEqual([16 * MIB, 32 * MIB]);
});
