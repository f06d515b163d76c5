import { beforeEach, expect, test } from "vitest";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../../src/core/age-identity.ts";
import { openSecrets, type Secrets } from "../../../src/master/secrets.ts";
import { type SecretVersion, versionKey } from "../../../src/master/secret-version.ts";
import { MemoryStore } from "../../../src/master/store/memory.ts";
import { putRecord } from "../../../src/master/store/record.ts";
import type { Entry, ListOptions } from "../../../src/master/store/store.ts";
import { rotationKey, type RotationRecord } from "../../../src/master/volumes/rotation-record.ts";
import { HandClock, pillarNaming } from "./fakes.ts";

const MANY = 40_000;
const HOUR_MS = 3_600_000;
const identity = parseAgeIdentityFile(generateAgeIdentityFile("now"), "test");

/** A store in memory that counts the entries it hands out. */
class CountingStore extends MemoryStore {
  read = 0;

  override async get(key: string): Promise<Entry | undefined> {
    this.read += 1;
    return super.get(key);
  }

  override async list(prefix: string, options?: ListOptions): Promise<readonly Entry[]> {
    const entries = await super.list(prefix, options);
    this.read += entries.length;
    return entries;
  }
}

let clock: HandClock;
let store: CountingStore;
let secrets: Secrets;
beforeEach(() => {
  clock = new HandClock();
  store = new CountingStore(clock);
  secrets = openSecrets({ store, identity, recoveryRecipients: [], clock });
});

/** One that is really made, then copies of it up to `count`, as an older release let a hostile host have them made. */
async function fill(count: number, change: (version: number) => Partial<SecretVersion>) {
  const first = await secrets.versions.generate("web1", "password");
  const all = Array.from({ length: count }, (_, index) => ({ ...first, version: index + 1, ...change(index + 1) }));
  await store.write(all.map((version) => putRecord(versionKey("web1", "password", version.version), version)));
  store.read = 0;
}

async function setAside(numbers: readonly number[]) {
  const record: RotationRecord = {
    id: "web1",
    path: "password",
    volume: "data",
    luksUuid: "",
    from: 1,
    to: MANY,
    state: "rolled-back",
    keepOld: false,
    slot: -1,
    begunAt: 0,
    changedAt: 0,
    aside: [...numbers],
  };
  await store.write([putRecord(rotationKey("web1", "password"), record)]);
}

test("a lease of one secret reads a few entries, however many versions its host had made", async () => {
  await fill(MANY, () => ({}));
  await setAside(Array.from({ length: MANY - 1 }, (_, index) => index + 2));
  const pillar = pillarNaming("password");
  for (const [purpose, version] of [
    ["open", 0],
    ["check", 39_000],
  ] as const) {
    const resolved = await secrets.resolveSecret("web1", pillar, "password", purpose, version);
    resolved?.secret.wipe();
    expect(resolved?.version).toBe(version === 0 ? 1 : version);
  }
  const node = { kind: "generate" } as const;
  expect(await secrets.versions.makesKey({ id: "web1", path: "password", purpose: "format" }, node)).toBe(false);
  expect(store.read).toBeLessThan(20);
});

test("which versions are forgotten is found in a few looks; forgetting goes on where it was cut short", async () => {
  await fill(2000, (version) => (version <= 1500 ? { forgotten: true } : {}));
  expect(await secrets.versions.forgottenThrough("web1", "password")).toBe(1500);
  expect(store.read).toBeLessThan(30);
  await secrets.versions.forget("web1", "password");
  expect(await secrets.versions.forgottenThrough("web1", "password")).toBe(2000);
  expect(await secrets.versions.current("web1", "password")).toBeUndefined();
  const history = await secrets.history("web1", "password");
  expect(history).toHaveLength(2000);
  expect(history.every(({ forgotten }) => forgotten === true)).toBe(true);
});

test("the current version is the same as that of the whole list, whatever lies around it", async () => {
  const path = "password";
  await fill(6, (version) => (version <= 2 ? { forgotten: true } : version === 6 ? { origin: "escrow" } : {}));
  await setAside([4, 5]);
  expect((await secrets.versions.current("web1", path))?.version).toBe(3);
  await setAside([3, 4, 5]);
  expect(await secrets.versions.current("web1", path)).toBeUndefined();
  await secrets.versions.destroy("web1", path);
  expect(await secrets.versions.newest("web1", path)).toBe(0);
  expect((await secrets.versions.generate("web1", path)).version).toBe(1);
});

test("a host that removes and formats its volume over and over gets 64 keys, then one an hour; none is dropped (I3)", async () => {
  const pillar = pillarNaming("password");
  const cycle = async () => {
    const resolved = await secrets.resolveSecret("web1", pillar, "password", "format");
    resolved?.secret.wipe();
    await secrets.versions.forget("web1", "password");
    return resolved?.version;
  };
  for (let made = 1; made <= 64; made += 1) expect(await cycle()).toBe(made);
  await expect(cycle()).rejects.toMatchObject({ code: "too-many-versions" });
  clock.time += 63 * HOUR_MS;
  await expect(cycle()).rejects.toMatchObject({ code: "too-many-versions" });
  clock.time += HOUR_MS;
  expect(await cycle()).toBe(65);
  expect(await secrets.history("web1", "password")).toHaveLength(65);
  // a clock that was set back makes no room
  clock.time -= 1000 * HOUR_MS;
  await expect(cycle()).rejects.toMatchObject({ code: "too-many-versions" });
  // others, and what operators do, are not held up
  expect((await secrets.versions.generate("web2", "password")).version).toBe(1);
  using value = secrets.open((await secrets.versions.generate("web3", "password")).armored);
  expect((await secrets.versions.import("web1", "password", value)).version).toBe(66);
});
