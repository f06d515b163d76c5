import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { decryptAge } from "../../../src/core/age-decrypt.ts";
import { type AgeIdentity, generateAgeIdentityFile, parseAgeIdentityFile } from "../../../src/core/age-identity.ts";
import { encryptAge } from "../../../src/core/age.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { loadAgeIdentity } from "../../../src/master/age-identity-file.ts";
import { SecretCache } from "../../../src/master/secret-cache.ts";
import { openSecrets, type Secrets } from "../../../src/master/secrets.ts";
import { MemoryStore } from "../../../src/master/store/memory.ts";
import type { CompiledPillar } from "../../../src/pillar/compile.ts";
import type { SecretNode } from "../../../src/pillar/secret-node.ts";
import { lacks } from "../../tools.ts";

const newIdentity = () => parseAgeIdentityFile(generateAgeIdentityFile("now"), "test");

let identity: AgeIdentity;
let recovery: AgeIdentity;
let store: MemoryStore;
let secrets: Secrets;
beforeEach(() => {
  identity = newIdentity();
  recovery = newIdentity();
  store = new MemoryStore();
  secrets = open();
});
afterEach(() => secrets[Symbol.dispose]());

const open = () => openSecrets({ store, identity, recoveryRecipients: [recovery.recipient], clock: systemClock });

function pillarWith(path: string, node: SecretNode): CompiledPillar {
  return { pillar: {}, secrets: new Map([[path, node]]) };
}
const generate = pillarWith("password", { kind: "generate", file: "hosts/web1.yaml", line: 1 });
const secret = async (text: string, path = "password") =>
  pillarWith(path, {
    kind: "secret",
    armored: await encryptAge(Buffer.from(text), [identity.recipient]),
    file: "hosts/web1.yaml",
    line: 1,
  });
async function lease(pillar: CompiledPillar, purpose: "format" | "open", from = secrets) {
  const resolved = await from.resolveSecret("web1", pillar, "password", purpose);
  return resolved && { ...resolved, hex: resolved.secret.expose().toString("hex") };
}

describe("!generate", () => {
  test("is 32 random bytes, the same for ever, encrypted to the master and to the recovery recipients", async () => {
    const first = await lease(generate, "format");
    expect(first).toMatchObject({ version: 1, generated: true, secret: { length: 32 } });
    expect(await lease(generate, "open")).toMatchObject({ version: 1, hex: first?.hex });
    secrets[Symbol.dispose]();
    secrets = open();
    expect((await lease(generate, "open"))?.hex).toBe(first?.hex);
    const [version] = await secrets.history("web1", "password");
    expect(
      decryptAge(version?.armored ?? "", recovery)
        .expose()
        .toString("hex"),
    ).toBe(first?.hex);
    const other = await secrets.resolveSecret("web2", generate, "password", "format");
    expect(other?.secret.expose().toString("hex")).not.toBe(first?.hex);
  });

  test("an open before any format has no key", async () => {
    expect(await lease(generate, "open")).toBeUndefined();
    expect(await secrets.history("web1", "password")).toEqual([]);
  });

  test("I1: many first uses at once, in two masters on one store, yield one key", async () => {
    using second = open();
    const all = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => lease(generate, "format", index % 2 ? secrets : second)),
    );
    expect(new Set(all.map((each) => each?.hex)).size).toBe(1);
    expect(await secrets.history("web1", "password")).toHaveLength(1);
  });

  test("I1: nothing is released when the store cannot write, reads back nothing, or something else", async () => {
    store.fail = "disk full";
    await expect(lease(generate, "format")).rejects.toThrow("disk full");
    store.fail = undefined;
    const real = store.get.bind(store);
    store.get = async () => undefined;
    await expect(lease(generate, "format")).rejects.toThrow("does not read back");
    store.get = async (key) => {
      const entry = await real(key);
      const other = await encryptAge(Buffer.alloc(32, 1), [identity.recipient]);
      const record = { ...(JSON.parse(Buffer.from(entry?.value ?? "").toString()) as object), armored: other };
      return entry && { ...entry, value: Buffer.from(JSON.stringify(record)) };
    };
    await expect(secrets.resolveSecret("web2", generate, "password", "format")).rejects.toThrow("does not read back");
  });

  test("I1: the key is in the store before the promise of it resolves", async () => {
    const write = store.write.bind(store);
    const order: string[] = [];
    store.write = async (changes) => {
      const result = await write(changes);
      order.push("durable");
      return result;
    };
    const get = store.get.bind(store);
    store.get = async (key) => {
      order.push("read back");
      return get(key);
    };
    await lease(generate, "format");
    expect([...order, "released"]).toEqual(["durable", "read back", "released"]);
  });
});

describe("!secret", () => {
  test("I3: each value that was released stays in the store, once, whatever the pillar says later", async () => {
    const one = await secret("one");
    expect(await lease(one, "format")).toMatchObject({ version: 1, generated: false });
    expect((await lease(one, "open"))?.version).toBe(1);
    expect((await lease(await secret("one"), "open"))?.version).toBe(1);
    const two = await lease(await secret("two"), "open");
    expect([two?.version, two?.secret.expose().toString()]).toEqual([2, "two"]);
    expect((await lease(one, "open"))?.version).toBe(1);
    const kept = (await secrets.history("web1", "password")).map(({ armored }) =>
      decryptAge(armored, recovery).expose().toString(),
    );
    expect(kept).toEqual(["one", "two"]);
  });

  test("I1: a format is refused when the stored copy opens to something else", async () => {
    const pillar = await secret("one");
    await lease(pillar, "format");
    const list = store.list.bind(store);
    const wrong = await encryptAge(Buffer.from("two"), [identity.recipient]);
    store.list = async (prefix, options) =>
      (await list(prefix, options)).map((entry) => {
        const record = JSON.parse(Buffer.from(entry.value).toString()) as object;
        return { ...entry, value: Buffer.from(JSON.stringify({ ...record, armored: wrong })) };
      });
    await expect(lease(pillar, "format")).rejects.toThrow("does not read back");
  });

  test("I3: going over to !generate and back loses neither key", async () => {
    await lease(await secret("one"), "format");
    const made = await lease(generate, "format");
    expect(made).toMatchObject({ version: 2, generated: true });
    expect((await lease(await secret("one"), "open"))?.version).toBe(1);
    expect((await lease(generate, "open"))?.hex).toBe(made?.hex);
  });

  test("an empty secret is never handed out, and one for another master is an error", async () => {
    await expect(lease(await secret(""), "open")).rejects.toThrow('cannot release the secret "password": it is empty');
    const foreign = pillarWith("password", {
      kind: "secret",
      armored: await encryptAge(Buffer.from("x"), [recovery.recipient]),
      file: "f",
      line: 1,
    });
    await expect(lease(foreign, "open")).rejects.toThrow("not encrypted to this identity");
  });

  test("a disk that is full stops the release", async () => {
    store.fail = "disk full";
    await expect(lease(await secret("one"), "open")).rejects.toThrow("disk full");
  });
});

test("a path that the pillar does not name is refused", async () => {
  await expect(secrets.resolveSecret("web1", generate, "other", "open")).rejects.toThrow("names no such secret");
});

test("paths of any letters are kept apart", async () => {
  for (const path of ["a b/c", "a%20b", "ä:ö", "a:0:b"]) {
    const node = { kind: "generate", file: "f", line: 1 } as const;
    await secrets.resolveSecret("web1", pillarWith(path, node), path, "format");
    expect(await secrets.history("web1", path)).toHaveLength(1);
  }
});

test("I5: the store holds no secret in plain, in hex or in base64, and no digest that a guess could be tried on", async () => {
  const text = "correct horse battery staple";
  await lease(await secret(text), "format");
  const made = await lease(generate, "format");
  const dump = (await store.list("")).map(({ key, value }) => key + Buffer.from(value).toString("latin1")).join("\n");
  for (const bytes of [Buffer.from(text), Buffer.from(made?.hex ?? "", "hex")]) {
    for (const form of [bytes.toString("latin1"), bytes.toString("hex"), bytes.toString("base64")]) {
      expect(dump).not.toContain(form);
    }
  }
});

test("what the cache holds is wiped when it is over its time and when it closes", async () => {
  let now = 0;
  const clock = { ...systemClock, monotonicMs: () => now };
  const cache = new SecretCache(identity, clock);
  const armored = await encryptAge(Buffer.from("x"), [identity.recipient]);
  cache.open(armored).wipe();
  expect([cache.open(armored).expose().toString(), cache.size]).toEqual(["x", 1]);
  now = 5 * 60_000;
  cache.sweep();
  expect(cache.size).toBe(0);
  cache.open(armored);
  cache[Symbol.dispose]();
  expect(cache.size).toBe(0);
});

describe("the master's age identity", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "latchkey-age-"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test("lesson: 2023-34049 is made once, 0600, the same for all who start at once", async () => {
    const path = join(directory, "state/age.key");
    const all = await Promise.all(Array.from({ length: 5 }, async () => loadAgeIdentity(path, store, systemClock)));
    expect(new Set(all.map(({ recipient }) => recipient)).size).toBe(1);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("is refused when others can read it", async () => {
    const path = join(directory, "age.key");
    await loadAgeIdentity(path, store, systemClock);
    execFileSync("chmod", ["640", path]);
    await expect(loadAgeIdentity(path, store, systemClock)).rejects.toThrow("others can read it");
  });

  test("I3: is never made anew for a store that holds secrets already", async () => {
    await lease(generate, "format");
    await expect(loadAgeIdentity(join(directory, "age.key"), store, systemClock)).rejects.toThrow("is missing");
  });

  test.skipIf(lacks("age"))("with it, stock `age` opens a stored version", async () => {
    const path = join(directory, "age.key");
    identity = await loadAgeIdentity(path, store, systemClock);
    secrets[Symbol.dispose]();
    secrets = open();
    const made = await lease(generate, "format");
    const [version] = await secrets.history("web1", "password");
    const opened = execFileSync("age", ["-d", "-i", path], { input: version?.armored ?? "" });
    expect(opened.toString("hex")).toBe(made?.hex);
  });
});
