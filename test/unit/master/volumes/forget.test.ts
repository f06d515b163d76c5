import { expect, test } from "vitest";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../../../src/core/age-identity.ts";
import type { LeasePurpose } from "../../../../src/core/lease-purpose.ts";
import { EventBus } from "../../../../src/master/events.ts";
import { openSecrets } from "../../../../src/master/secrets.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { Forgetting } from "../../../../src/master/volumes/forget.ts";
import type { SecretNode } from "../../../../src/pillar/secret-node.ts";
import { FakeSession, HandClock, openAudit, quiet, recordsOf } from "../fakes.ts";

const PATH = "volumes:data:luks:key";
const asked = { volume: "data", path: PATH };
const identity = parseAgeIdentityFile(generateAgeIdentityFile("now"), "test");

async function master(node: SecretNode = { kind: "generate", file: "web1.yaml", line: 3 }) {
  const clock = new HandClock();
  const store = new MemoryStore(clock);
  const secrets = openSecrets({ store, identity, recoveryRecipients: [], clock });
  const pillar = { pillar: {}, secrets: new Map([[PATH, node]]) };
  const forgetting = new Forgetting({
    audit: await openAudit(store, clock),
    versions: secrets.versions,
    compile: async (id) => (id === "web1" ? pillar : { pillar: {}, secrets: new Map() }),
    events: new EventBus(clock),
    known: { forget: async () => {} },
    log: quiet,
    clock,
  });
  return {
    store,
    secrets,
    forget: async (id = "web1") => forgetting.forget(new FakeSession(id), asked),
    lease: async (purpose: LeasePurpose, version = 0) => {
      const resolved = await secrets.resolveSecret("web1", pillar, PATH, purpose, version);
      resolved?.secret.wipe();
      return resolved?.version;
    },
  };
}

test("a forgotten key is leased no more, the next format gets a new one, and none is destroyed", async () => {
  const { forget, lease, secrets } = await master();
  expect(await lease("format")).toBe(1);
  expect(await forget()).toEqual({ through: 1, kept: false });
  expect(await lease("open")).toBeUndefined();
  for (const purpose of ["check", "rotate"] as const) {
    expect(await lease(purpose)).toBeUndefined();
    await expect(lease(purpose, 1)).rejects.toMatchObject({ code: "version-forgotten" });
  }
  expect(await lease("format")).toBe(2);
  expect(await lease("open")).toBe(2);
  expect(await lease("check", 2)).toBe(2);
  const history = await secrets.history("web1", PATH);
  expect(history.map(({ version, forgotten }) => [version, forgotten])).toEqual([
    [1, true],
    [2, undefined],
  ]);
  using kept = secrets.open(history[0]?.armored ?? "");
  expect(kept.length).toBe(32);
});

test("it is in the audit log once, however often it is asked", async () => {
  const { forget, lease, store } = await master();
  await lease("format");
  await forget();
  expect(await forget()).toEqual({ through: 0, kept: false });
  const records = (await recordsOf(store)).filter(({ kind }) => kind === "key-forgotten");
  expect(records).toMatchObject([{ actor: "web1", data: { volume: "data", path: PATH, through: 1 } }]);
});

test("a key that was never made is no failure", async () => {
  expect(await (await master()).forget()).toEqual({ through: 0, kept: false });
});

test("a key that the pillar itself has is not forgotten, and the answer says so", async () => {
  const { forget } = await master({ kind: "secret", file: "web1.yaml", line: 3, armored: "x" });
  expect(await forget()).toEqual({ through: 0, kept: true });
});

test("I6: a minion can have nobody else's key forgotten, nor one that its pillar does not name", async () => {
  const { forget, lease } = await master();
  await lease("format");
  await expect(forget("web2")).rejects.toMatchObject({ code: "not-in-pillar" });
  expect(await lease("open")).toBe(1);
});
