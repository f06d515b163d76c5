import { expect, test } from "vitest";
import { LeaseHistory, type LeaseUse } from "../../../../src/master/release/history.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";

const NOW = 1_700_000_000_000;
const SETTLES = { boot: true, silence: true };
const asked = (more: Partial<LeaseUse>): LeaseUse => {
  return { id: "web1", path: "disk:password", purpose: "open", device: "/dev/vg0/data", bootId: "a", ...more };
};

async function setUp() {
  const store = new MemoryStore();
  const history = await LeaseHistory.load(store);
  /** Releases, as far as a rule of one lease a boot lets it; resolves with the size of the record. */
  const release = async (use: LeaseUse): Promise<number> => {
    if (history.facts(use, NOW).leasesThisBoot !== 0) return 0;
    const { changes } = history.reserve(use, NOW, SETTLES);
    await store.write(changes);
    return (await store.list("release/history/"))[0]?.value.length ?? 0;
  };
  return { store, history, release };
}

test("however many devices and boots a host names, what is kept of it stays small, and one more is one too many", async () => {
  const { release } = await setUp();
  const long = "x".repeat(4000);
  const sizes: number[] = [];
  for (let n = 0; n < 5000; n += 1) sizes.push(await release(asked({ device: `/dev/${long}${n}` })));
  // 64 devices, and one for all others
  expect(sizes.filter((size) => size > 0)).toHaveLength(65);
  for (let boot = 0; boot < 20; boot += 1) {
    for (let n = 0; n < 70; n += 1) sizes.push(await release(asked({ bootId: `boot ${boot}`, device: `/dev/${n}` })));
  }
  expect(Math.max(...sizes)).toBeLessThan(64_000);
});

test("the last sixteen boots are known, also after a restart", async () => {
  const { store, release } = await setUp();
  for (let boot = 0; boot < 17; boot += 1) await release(asked({ bootId: `boot ${boot}` }));
  const after = await LeaseHistory.load(store);
  const counts = [0, 1, 16].map((boot) => after.facts(asked({ bootId: `boot ${boot}` }), NOW).leasesThisBoot);
  expect(counts).toEqual([0, 1, 1]);
});

test("a boot without a name is never the one that is known", async () => {
  const { history } = await setUp();
  history.reserve(asked({ bootId: "a" }), NOW, SETTLES);
  history.reserve(asked({ bootId: "b" }), NOW, { boot: false, silence: false });
  expect(history.facts(asked({ bootId: "" }), NOW).newBoot).toBeNull();
});
