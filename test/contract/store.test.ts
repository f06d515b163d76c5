import { type ChildProcess, spawn } from "node:child_process";
import { pbkdf2 } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Clock } from "../../src/core/clock.ts";
import { MemoryStore } from "../../src/master/store/memory.ts";
import { SqliteStore } from "../../src/master/store/sqlite.ts";
import type { Change, Store, StoreEvent } from "../../src/master/store/store.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined) => (value === undefined ? undefined : new TextDecoder().decode(value));
const put = (key: string, value: string, more: { ifRevision?: number; ttlMs?: number } = {}): Change => ({
  op: "put",
  key,
  value: bytes(value),
  ...more,
});

let directory = "";
let now = 1_000_000;
const clock: Clock = { now: () => now, monotonicMs: () => now, sleep: async () => {} };

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-store-"));
  now = 1_000_000;
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const engines: readonly (readonly [string, () => Store])[] = [
  ["sqlite", () => new SqliteStore(join(directory, "store.db"), { clock, sweepMs: 5 })],
  ["memory", () => new MemoryStore(clock)],
];

describe.each(engines)("store: %s", (_engine, open) => {
  let store: Store;
  beforeEach(() => {
    store = open();
  });
  afterEach(() => store.close());

  test("gives back what was written, and undefined for what is not there", async () => {
    await store.write([put("a/1", "one")]);
    expect(text((await store.get("a/1"))?.value)).toBe("one");
    expect(await store.get("a/2")).toBeUndefined();
  });

  test("lists a prefix in key order, in pages", async () => {
    await store.write([put("k/2", "b"), put("k/10", "a"), put("k0", "x"), put("j/9", "x"), put("k/", "root")]);
    const keys = async (options = {}) => (await store.list("k/", options)).map(({ key }) => key);
    expect(await keys()).toEqual(["k/", "k/10", "k/2"]);
    expect(await keys({ limit: 1 })).toEqual(["k/"]);
    expect(await keys({ after: "k/10" })).toEqual(["k/2"]);
    expect(await keys({ reverse: true, limit: 2 })).toEqual(["k/2", "k/10"]);
    expect(await keys({ reverse: true, after: "k/10" })).toEqual(["k/"]);
    expect(await store.list("")).toHaveLength(5);
  });

  test("tells the sizes of what is below a prefix, in key order", async () => {
    await store.write([put("k/2", "ä"), put("k/10", ""), put("k0", "x"), put("k/9", "gone", { ttlMs: 100 })]);
    const sizes = async () => (await store.sizes("k/")).map(({ key, bytes: length }) => `${key}=${length}`);
    expect(await sizes()).toEqual(["k/10=0", "k/2=2", "k/9=4"]);
    now += 200;
    await store.write([put("k/2", "longer")]);
    expect(await sizes()).toEqual(["k/10=0", "k/2=6"]);
    expect(await store.sizes("nothing/")).toEqual([]);
  });

  test("a list that was read before shows whatever was written, deleted and expired since", async () => {
    const list = async (prefix: string) => (await store.list(prefix)).map(({ key, value }) => `${key}=${text(value)}`);
    expect(await list("a/b/")).toEqual([]);
    await store.write([put("a/b/1", "one"), put("a/bc", "no")]);
    expect(await list("a/b/")).toEqual(["a/b/1=one"]);
    expect(await list("a/")).toEqual(["a/b/1=one", "a/bc=no"]);
    await store.write([put("a/b/1", "two"), put("a/b/c/2", "deep", { ttlMs: 100 })]);
    expect(await list("a/b/")).toEqual(["a/b/1=two", "a/b/c/2=deep"]);
    now += 200;
    expect(await list("a/b/")).toEqual(["a/b/1=two"]);
    await store.write([{ op: "delete", key: "a/b/1" }]);
    expect(await list("a/b/")).toEqual([]);
    expect(await list("a/")).toEqual(["a/bc=no"]);
  });

  test("what a caller does with its bytes later does not reach the store", async () => {
    const value = bytes("before");
    await store.write([{ op: "put", key: "a", value }]);
    value.fill(0);
    expect(text((await store.get("a"))?.value)).toBe("before");
  });

  test("revisions grow, and compare-and-set writes only onto the revision that was seen", async () => {
    const first = await store.write([put("a", "1", { ifRevision: 0 })]);
    const seen = await store.get("a");
    expect(first).toEqual({ kind: "committed", revision: seen?.revision });
    expect(await store.write([put("a", "x", { ifRevision: 0 })])).toEqual({ kind: "conflict", key: "a" });
    const second = await store.write([put("a", "2", { ifRevision: seen?.revision ?? -1 })]);
    expect(second.kind).toBe("committed");
    expect((await store.get("a"))?.revision).toBeGreaterThan(seen?.revision ?? 0);
    expect(await store.write([{ op: "delete", key: "a", ifRevision: seen?.revision ?? -1 }])).toMatchObject({
      kind: "conflict",
    });
    expect(text((await store.get("a"))?.value)).toBe("2");
  });

  test("a write with one conflict changes nothing at all", async () => {
    await store.write([put("held", "1")]);
    const result = await store.write([
      put("free", "1"),
      { op: "delete", key: "x" },
      put("held", "2", { ifRevision: 0 }),
    ]);
    expect(result).toEqual({ kind: "conflict", key: "held" });
    expect(await store.get("free")).toBeUndefined();
    expect(text((await store.get("held"))?.value)).toBe("1");
  });

  test("of many that race for one revision exactly one wins", async () => {
    const results = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => store.write([put("race", String(index), { ifRevision: 0 })])),
    );
    expect(results.filter(({ kind }) => kind === "committed")).toHaveLength(1);
    expect(text((await store.get("race"))?.value)).toBe(String(results.findIndex(({ kind }) => kind === "committed")));
  });

  test("counting up by compare-and-set loses no count", async () => {
    const add = async (): Promise<void> => {
      const entry = await store.get("n");
      const result = await store.write([
        put("n", String(Number(text(entry?.value) ?? "0") + 1), { ifRevision: entry?.revision ?? 0 }),
      ]);
      if (result.kind === "conflict") await add();
    };
    await Promise.all(Array.from({ length: 20 }, add));
    expect(text((await store.get("n"))?.value)).toBe("20");
  });

  test("a watch sees the changes of its prefix in order, until it ends", async () => {
    const seen: string[] = [];
    const stop = store.watch("w/", ({ key, value }: StoreEvent) => seen.push(`${key}=${text(value) ?? "gone"}`));
    await store.write([put("w/a", "1"), put("other", "1")]);
    await store.write([
      { op: "delete", key: "w/a" },
      { op: "delete", key: "w/never" },
    ]);
    stop();
    await store.write([put("w/b", "1")]);
    expect(seen).toEqual(["w/a=1", "w/a=gone"]);
  });

  test("an expired entry is gone for every reader, and its key is free again", async () => {
    const gone: string[] = [];
    store.watch("e/", ({ key, value }) => value === undefined && gone.push(key));
    await store.write([put("e/a", "1", { ttlMs: 1000 }), put("e/b", "1")]);
    now += 999;
    expect(await store.list("e/")).toHaveLength(2);
    now += 1;
    expect(await store.get("e/a")).toBeUndefined();
    expect((await store.list("e/")).map(({ key }) => key)).toEqual(["e/b"]);
    await expect.poll(() => gone).toEqual(["e/a"]);
    expect((await store.write([put("e/a", "2", { ifRevision: 0 })])).kind).toBe("committed");
  });

  test.each(["", "a b", "ü", "a\n", "x".repeat(501)])("refuses the key %j", async (key) => {
    await expect(store.write([put(key, "1")])).rejects.toMatchObject({ code: "bad-store-key" });
  });

  test("a closed store refuses to write", async () => {
    await store.close();
    await expect(store.write([put("a", "1")])).rejects.toMatchObject({ code: "store-failed" });
  });
});

describe("store: sqlite on its disk", () => {
  const path = () => join(directory, "sub", "store.db");

  test("keeps entries and goes on counting revisions over a restart", async () => {
    const first = new SqliteStore(path());
    await first.write([put("a", "1")]);
    const before = await first.write([put("b", "1")]);
    await first.close();
    const second = new SqliteStore(path());
    expect(text((await second.get("a"))?.value)).toBe("1");
    const after = await second.write([put("c", "1")]);
    expect(after).toMatchObject({ kind: "committed", revision: before.kind === "committed" ? before.revision + 1 : 0 });
    await second.close();
  });

  test("lesson: 2020-17490, 2023-34049 the database is 0600 and its directory 0700 from the first byte", async () => {
    const store = new SqliteStore(path());
    await store.write([put("a", "1")]);
    const mode = (name: string) => statSync(name).mode & 0o777;
    expect([mode(join(directory, "sub")), mode(path()), mode(`${path()}-wal`)]).toEqual([0o700, 0o600, 0o600]);
    await store.close();
  });

  test("a second opening is refused while the first lives", async () => {
    const store = new SqliteStore(path());
    expect(() => new SqliteStore(path())).toThrow(expect.objectContaining({ code: "store-locked" }));
    await store.close();
    await new SqliteStore(path()).close();
  });

  test("a full disk fails the write whole, and the store works on when there is room", async () => {
    const store = new SqliteStore(path(), { maxBytes: 256 * 1024 });
    await store.write([put("small", "1")]);
    const big = "x".repeat(512 * 1024);
    await expect(store.write([put("other", "1"), put("big", big)])).rejects.toMatchObject({ code: "store-failed" });
    expect((await store.list("")).map(({ key }) => key)).toEqual(["small"]);
    expect((await store.write([put("after", "1")])).kind).toBe("committed");
    await store.close();
  });

  test("garbage in place of the database is a clear error", async () => {
    const { mkdirSync, writeFileSync } = await import("node:fs");
    mkdirSync(join(directory, "sub"));
    writeFileSync(path(), "garbage".repeat(4000));
    expect(() => new SqliteStore(path())).toThrow(expect.objectContaining({ code: "store-failed" }));
  });

  test("kill -9 of the writer loses no acknowledged write, and frees the lock", async () => {
    const url = new URL("../../src/master/store/sqlite.ts", import.meta.url).href;
    const program = `
      const { SqliteStore } = await import(${JSON.stringify(url)});
      const store = new SqliteStore(${JSON.stringify(path())});
      for (let i = 0; ; i += 1) {
        await Promise.all([0, 1, 2].map(async (n) => {
          await store.write([{ op: "put", key: "k/" + i + "-" + n, value: new TextEncoder().encode("v" + i) }]);
          process.stdout.write("k/" + i + "-" + n + "\\n");
        }));
      }`;
    const child: ChildProcess = spawn(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", program],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    const acknowledged: string[] = [];
    if (child.stdout === null) throw new Error("no output");
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (line) => {
      acknowledged.push(line);
      if (acknowledged.length === 300) child.kill("SIGKILL");
    });
    await Promise.all([once(child, "exit"), once(lines, "close")]);
    const store = new SqliteStore(path());
    const kept = new Set((await store.list("k/")).map(({ key }) => key));
    expect(acknowledged.filter((key) => !kept.has(key))).toEqual([]);
    expect(acknowledged.length).toBeGreaterThanOrEqual(300);
    await store.close();
  });

  test("a copy made while others write is whole, and as of one moment", async () => {
    const store = new SqliteStore(path());
    const row = (n: number) => put(`x/${String(n).padStart(4, "0")}`, "x".repeat(4000));
    await store.write(Array.from({ length: 500 }, (_, n) => row(n)));
    const pair = (n: number) => [put("n/a", String(n)), row(n % 500), put("n/b", String(n))];
    await store.write(pair(0));
    const stopping = new AbortController();
    const writer = (async () => {
      let n = 0;
      for (; !stopping.signal.aborted; n += 1) await store.write(pair(n));
      return n;
    })();
    const file = join(directory, "copy.db");
    await store.copyTo(file);
    stopping.abort();
    expect(await writer).toBeGreaterThan(1);
    await store.close();
    const copy = new SqliteStore(file);
    expect(await copy.list("x/")).toHaveLength(500);
    expect(text((await copy.get("n/a"))?.value)).toBe(text((await copy.get("n/b"))?.value));
    await copy.close();
  });

  test("a copy whose first steps meet a long transaction begins again", async () => {
    const store = new SqliteStore(path());
    const derive = promisify(pbkdf2);
    for (const round of [1, 2, 3, 4, 5, 6]) {
      const file = join(directory, `copy-${round}.db`);
      const rows = Array.from({ length: 10_000 }, (_, n) => put(`x/${n}`, String(round)));
      // every thread is taken when the copy begins: its first step comes in the middle of the transaction
      const taken = Array.from({ length: 4 }, async () => derive("", "", 20_000 * round, 32, "sha256"));
      const [copied] = await Promise.allSettled([store.copyTo(file), store.write(rows), ...taken]);
      expect(copied).toMatchObject({ status: "fulfilled" });
    }
    await store.close();
  });

  test("a copy that does not read back whole is told of", async () => {
    const { assertIntact } = await import("../../src/master/store/intact.ts");
    const { writeFileSync } = await import("node:fs");
    const file = join(directory, "copy.db");
    writeFileSync(file, "garbage".repeat(4000));
    await expect(assertIntact(file)).rejects.toMatchObject({ code: "backup-failed" });
  });
});
