import { expect, test } from "vitest";
import { hygieneWarnings, parseSwaps, readHygiene } from "../../../src/minion/hygiene.ts";

const SWAPS = `Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/zram0                              partition\t1048572\t\t0\t\t100
/swap\\040file                           file\t\t524284\t\t0\t\t-2
/dev/dm-1                               partition\t1000\t\t0\t\t-3
`;
const machine = (files: Readonly<Record<string, string>>) => readHygiene((path) => files[path]);

test("/proc/swaps, with blanks in names", () => {
  expect(parseSwaps(SWAPS)).toEqual([
    { path: "/dev/zram0", bytes: 1_073_737_728 },
    { path: "/swap file", bytes: 536_866_816 },
    { path: "/dev/dm-1", bytes: 1_024_000 },
  ]);
  expect(parseSwaps("")).toEqual([]);
});

test("I5: swap on a disk in plain text is a warning, zram and dm-crypt are none", () => {
  const uuid = { "/sys/class/block/dm-1/dm/uuid": "CRYPT-PLAIN-swap\n" };
  const found = machine({ "/proc/swaps": SWAPS, ...uuid });
  expect(found.swap.map(({ kind }) => kind)).toEqual(["zram", "plain", "encrypted"]);
  expect(found.keptOutOfSwap).toBe("");
  expect(hygieneWarnings(found).join("\n")).toContain("/swap file");
  const sealed = machine({ "/proc/swaps": SWAPS.replace(/^\/swap.*\n/mu, ""), ...uuid });
  expect(sealed.keptOutOfSwap).toBe("all swap is encrypted or in memory");
});

test("I5: MemorySwapMax=0 of the own unit keeps the minion out of swap", () => {
  const files = {
    "/proc/swaps": SWAPS,
    "/proc/self/cgroup": "0::/system.slice/latchkey-minion.service\n",
    "/sys/fs/cgroup/system.slice/latchkey-minion.service/memory.swap.max": "0\n",
  };
  expect(machine(files).keptOutOfSwap).toBe("the unit's MemorySwapMax=0");
});

test.each([
  ["unlimited", "00000033", 1],
  ["0", "00000033", 0],
  ["unlimited", "00000000", 0],
])("I5: core dumps: limit %s and filter %s give %i warnings", (limit, filter, count) => {
  const files = {
    "/proc/self/limits": `Max core file size        ${limit}                    unlimited            bytes\n`,
    "/proc/self/coredump_filter": `${filter}\n`,
    "/proc/self/status": "TracerPid:\t0\n",
  };
  expect(hygieneWarnings(machine(files))).toHaveLength(count);
});

test("a debugger is a warning", () => {
  const files = { "/proc/self/status": "TracerPid:\t7\n", "/proc/self/coredump_filter": "00000000\n" };
  expect(hygieneWarnings(machine(files))).toEqual(["another process traces the minion and can read its memory"]);
});

test("what cannot be read is told as unknown, never as safe", () => {
  const found = machine({});
  expect(found).toMatchObject({ coreLimit: "unknown", coreFilter: "unknown", ptraceScope: "absent" });
  expect(hygieneWarnings(found)).not.toEqual([]);
});
