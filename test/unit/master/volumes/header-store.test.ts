import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { sha256 } from "../../../../src/core/crypto/hash.ts";
import type { EscrowedHeader } from "../../../../src/core/volume-header.ts";
import { HeaderStore } from "../../../../src/master/volumes/header-store.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import type { Store } from "../../../../src/master/store/store.ts";
import type { Vault } from "../../../../src/master/volumes/vault.ts";

const unused = () => Promise.reject(new Error("not part of this test"));
/** Swaps bytes, so that what is stored is not what was given. */
const turned = (bytes: Uint8Array) => Buffer.from(bytes).swap16();
const vault: Vault = {
  seal: async (plain) => turned(plain),
  recipientSet: "set",
  open: async (sealed) => turned(sealed),
  openOnce: () => {
    throw new Error("not part of this test");
  },
  versions: unused,
  key: unused,
};

function headerOf(bytes: Buffer): Omit<EscrowedHeader, "version"> {
  return {
    volume: "data",
    digest: sha256(bytes).toString("hex"),
    bytes: bytes.length,
    luksUuid: "u",
    reason: "rotate",
    device: "/dev/sdb",
    deviceBytes: 0,
    disk: { serial: "", bytes: 0, pvUuids: [] },
    slots: [],
    volumeKey: "0".repeat(16),
    at: 1,
    proven: { version: 0, at: 0 },
  };
}

/** A store whose power goes at the n-th write. */
function dyingAt(store: Store, victim: number): Store {
  let writes = 0;
  return {
    get: (key) => store.get(key),
    list: (prefix, options) => store.list(prefix, options),
    sizes: (prefix) => store.sizes(prefix),
    watch: (prefix, listener) => store.watch(prefix, listener),
    scrub: () => store.scrub(),
    copyTo: (file) => store.copyTo(file),
    close: () => store.close(),
    write: (changes) => {
      writes += 1;
      return writes >= victim ? Promise.reject(new Error("power cut")) : store.write(changes);
    },
  };
}

const add = async (store: Store, bytes: Buffer) =>
  new HeaderStore(store, vault).add("web1", headerOf(bytes), bytes, async (_header, changes) => {
    await store.write(changes);
  });

test("cut off at any write, nothing half counts, the one before stays, and the next try leaves no rest behind", async () => {
  const first = randomBytes(1000);
  const bytes = randomBytes(1_081_344);
  for (let victim = 1; victim <= 5; victim += 1) {
    const store = new MemoryStore();
    await add(store, first);
    await expect(add(dyingAt(store, victim), bytes)).rejects.toThrow("power cut");
    const headers = new HeaderStore(store, vault);
    expect((await headers.list("web1", "data")).map(({ digest }) => digest)).toEqual([headerOf(first).digest]);
    const added = await add(store, bytes);
    expect(bytes.equals(await headers.read("web1", added))).toBe(true);
    expect(await headers.list("web1", "data")).toHaveLength(2);
    // three pieces of the second, one of the first, and no others
    expect(await store.list("header-data/")).toHaveLength(4);
    expect(await store.list("header-pending/")).toEqual([]);
  }
});

test("encrypted anew and cut off at any write, it reads as it was, and the next try leaves no rest behind", async () => {
  const bytes = randomBytes(1_081_344);
  const anew = { ...vault, recipientSet: "other" };
  const recipients = async (headers: HeaderStore) => (await headers.list("web1", "data")).map((one) => one.recipients);
  let victim = 1;
  for (let isWhole = false; !isWhole; victim += 1) {
    const store = new MemoryStore();
    const header = await add(store, bytes);
    isWhole = await new HeaderStore(dyingAt(store, victim), anew).sealAnew("web1", header).then(
      () => true,
      () => false,
    );
    const headers = new HeaderStore(store, anew);
    const [now] = await headers.list("web1", "data");
    if (now === undefined) throw new Error("no header");
    expect(bytes.equals(await headers.read("web1", now))).toBe(true);
    await headers.sealAnew("web1", now);
    const [after] = await headers.list("web1", "data");
    if (after === undefined) throw new Error("no header");
    expect(bytes.equals(await headers.read("web1", after))).toBe(true);
    expect(await recipients(headers)).toEqual(["other"]);
    expect(await store.list("header-data/")).toHaveLength(3);
    expect(await store.list("header-pending/")).toEqual([]);
  }
  // noted, three pieces, switched, three pieces of the old one away, the note away
  expect(victim - 1).toBe(1 + 3 + 1 + 3 + 1 + 1);
});

test("a header whose pieces are not what they were is never handed out, and a removed one is gone with its bytes", async () => {
  const store = new MemoryStore();
  const bytes = randomBytes(600_000);
  const added = await add(store, bytes);
  const [piece] = await store.list("header-data/");
  if (!piece) throw new Error("no piece");
  await store.write([{ op: "put", key: piece.key, value: randomBytes(piece.value.length) }]);
  const headers = new HeaderStore(store, vault);
  await expect(headers.read("web1", added)).rejects.toMatchObject({ code: "header-not-durable" });
  await headers.remove("web1", [added]);
  expect(await store.list("header")).toEqual([]);
});

test("destroyed and cut off at any write, the next try leaves nothing, whatever was damaged or cut off before", async () => {
  const bytes = randomBytes(1_081_344);
  let victim = 1;
  for (let isWhole = false; !isWhole; victim += 1) {
    const store = new MemoryStore();
    await add(store, bytes);
    // one that was never whole, one that does not read, and a neighbour
    await expect(add(dyingAt(store, 3), randomBytes(1_081_344))).rejects.toThrow("power cut");
    await store.write([{ op: "put", key: "header/web1/data/000007", value: Buffer.from("?") }]);
    await new HeaderStore(store, vault).add(
      "web1",
      { ...headerOf(bytes), volume: "data2" },
      bytes,
      async (_, changes) => {
        await store.write(changes);
      },
    );
    isWhole = await new HeaderStore(dyingAt(store, victim), vault).destroy("web1", "data").then(
      () => true,
      () => false,
    );
    const headers = new HeaderStore(store, vault);
    await headers.destroy("web1", "data");
    const left = (await store.list("header")).map(({ key }) => key);
    expect(left.filter((key) => !key.includes("/data2/"))).toEqual([]);
    expect(left).toHaveLength(4);
  }
  // three pieces and one of the one that was cut off, its note, and two facts
  expect(victim - 1).toBe(3 + 1 + 1 + 2 + 1);
});

test("hosts and volumes whose names begin alike are kept apart", async () => {
  const store = new MemoryStore();
  const headers = new HeaderStore(store, vault);
  const bytes = randomBytes(10);
  for (const [id, volume] of [
    ["web1", "data"],
    ["web1", "data2"],
    ["web10", "data"],
  ] as const) {
    await headers.add(id, { ...headerOf(bytes), volume }, bytes, async (_header, changes) => {
      await store.write(changes);
    });
  }
  expect(await headers.list("web1", "data")).toHaveLength(1);
  expect((await headers.list("web1")).map(({ volume }) => volume)).toEqual(["data", "data2"]);
  expect(await headers.list()).toHaveLength(3);
});
