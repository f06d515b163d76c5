import { beforeEach, expect, test } from "vitest";
import { AuthError, TransportError } from "../../../../src/core/errors.ts";
import { Secret } from "../../../../src/core/secret.ts";
import { writeCheckNote } from "../../../../src/minion/volume/check-note.ts";
import { assertKeyKept, type GuardContext, type GuardOptions } from "../../../../src/minion/volume/guard.ts";
import { readLuksFacts } from "../../../../src/minion/volume/inspect-luks.ts";
import { formatLuksToken } from "../../../../src/states/devices/luks-token.ts";
import { readVolumes } from "../../../../src/states/volume/spec.ts";
import type { Json } from "../../../../src/core/json.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";
import { luks2Bytes } from "../../../fakes/luks2-bytes.ts";

const UUID = "0f6e2c4a-9d1b-4a53-8f0e-0123456789ab";
/** As long as the bytes that the fake has: two copies, and an area of keyslots. */
const CONFIG = { json_size: "12288", keyslots_size: "16384" };
const REFUSAL =
  "no verified copy of the key of volume data would remain: restore the key or use --force to skip this safeguard";
const SENTENCE = { code: "key-not-kept", message: REFUSAL };

const [volume] = readVolumes({ volumes: { data: { disk: "/dev/x", luks: { key: "secret:volumes:data:luks:key" } } } });
const [plain] = readVolumes({ volumes: { logs: { disk: "/dev/y" } } });
if (volume === undefined || plain === undefined) throw new TypeError("no volumes");

let host: FakeHost;
let notes: string[];
let asked: number[];
let secrets: Secret[];

beforeEach(() => {
  host = new FakeHost()
    .file("/dev/x", luks2Bytes(UUID, { keyslots: { 0: {} }, config: CONFIG }))
    .directory("/sys/class/block");
  notes = [];
  asked = [];
  secrets = [];
});

/** The master's versions, oldest first; those whose text starts with `fits` open the device. */
function contextWith(versions: readonly string[], more: Partial<GuardContext> = {}): GuardContext {
  const test = ["cryptsetup", "open", "--test-passphrase", "--type", "luks", "--key-file=-", "--keyfile-size", "6"];
  host.on([...test, "--", "/dev/x"], (stdin) => ({ exitCode: stdin.toString().startsWith("fits") ? 0 : 2 }));
  return {
    host,
    volume: volume as NonNullable<typeof volume>,
    signal: new AbortController().signal,
    machine: { config: { stateDir: "/state" } },
    note: (line) => notes.push(line),
    lease: async (ref, purpose, { version: wanted = 0, luksUuid }, use) => {
      expect([ref, purpose, luksUuid]).toEqual(["secret:volumes:data:luks:key", "check", UUID]);
      asked.push(wanted);
      const version = wanted === 0 ? versions.length : wanted;
      const text = versions[version - 1];
      if (text === undefined) throw new AuthError("lease-denied", "cannot lease it: the master refused");
      using secret = Secret.take(Buffer.from(text));
      secrets.push(secret);
      return await use({ secret, generated: true, version });
    },
    ...more,
  };
}
/** What a check of the header as it is now has proven. */
async function remember(proven: { readonly version: number; readonly at: number }): Promise<void> {
  const headerDigest = (await readLuksFacts(host, "/dev/x"))?.digest ?? "";
  expect(headerDigest).not.toBe("");
  await writeCheckNote(host, "/state", "data", { at: 0, luksUuid: UUID, headerDigest, proven, problems: [] });
}
const away: GuardContext["lease"] = async () => {
  throw new TransportError("no-master", "cannot reach the master");
};
const check = async (context: GuardContext, options: Partial<GuardOptions> = {}) =>
  assertKeyKept(context, { force: false, ...options });

test("I3: a key that opens the header is proven by a fresh lease, which is wiped", async () => {
  expect(await check(contextWith(["wrong1", "fits-2"]))).toEqual({ kind: "proven", version: 2 });
  expect(asked).toEqual([0]);
  expect(secrets.map(({ wiped }) => wiped)).toEqual([true]);
  expect(notes).toEqual(["the stored key (version 2) opens the header"]);
});

test("I3: a key that does not open the header stops it, with force it goes on and says so", async () => {
  const context = contextWith(["wrong1", "wrong2"]);
  await expect(check(context)).rejects.toMatchObject(SENTENCE);
  expect(await check(context, { force: true })).toEqual({ kind: "forced", reason: REFUSAL });
  expect(notes).toEqual([`forced: ${REFUSAL}`]);
});

test("an older version that opens it is not enough for the next boot, and is told apart from a lost key", async () => {
  const context = contextWith(["wrong1", "fits-2", "wrong3"]);
  await expect(check(context)).rejects.toMatchObject({
    code: "key-not-current",
    message: "volume data would not come up again: version 2 of its key opens it, the current version 3 does not",
  });
  expect((await check(context, { force: true })).kind).toBe("forced");
});

test("the versions that the header names are tried before others", async () => {
  const tokens = {
    0: JSON.parse(
      formatLuksToken({ state: "committed", machine: [{ slot: 0, version: 2 }], volume: "data", made: 1 }),
    ) as Json,
  };
  host.file("/dev/x", luks2Bytes(UUID, { keyslots: { 0: {} }, tokens }));
  await expect(check(contextWith(["wrong1", "fits-2", "wrong3", "wrong4", "wrong5"]))).rejects.toMatchObject({
    facts: { version: 2, current: 5 },
  });
  expect(asked).toEqual([0, 2]);
});

test("while the master is away a proof for this header does, none is a refusal", async () => {
  const context = contextWith([], { lease: away });
  await expect(check(context)).rejects.toMatchObject(SENTENCE);
  await remember({ version: 2, at: 0 });
  expect(await check(context)).toEqual({ kind: "remembered", version: 2, at: 0 });
  expect(notes).toEqual([
    "the master could not be asked; version 2 of the key opened this header at 1970-01-01T00:00:00.000Z",
  ]);
  host.file("/dev/x", luks2Bytes(UUID, { keyslots: { 0: {}, 1: {} }, config: CONFIG }));
  await expect(check(context)).rejects.toMatchObject(SENTENCE);
  await remember({ version: 0, at: 0 });
  await expect(check(context)).rejects.toMatchObject(SENTENCE);
});

test("a master that refuses has answered: what is remembered does not count", async () => {
  await remember({ version: 1, at: 0 });
  await expect(check(contextWith([]))).rejects.toMatchObject({
    ...SENTENCE,
    hint: expect.stringContaining("a release policy must allow the purpose check"),
  });
});

test("nothing is asked for a volume without a key, or one that is not there", async () => {
  expect(await check(contextWith([], { volume: plain }))).toEqual({ kind: "unneeded" });
  host.file("/dev/x", Buffer.alloc(1 << 16));
  expect(await check(contextWith([]))).toEqual({ kind: "unneeded" });
  expect(asked).toEqual([]);
});

test("I3: a live mapping over a header that is gone or damaged is not closed", async () => {
  host.file("/sys/class/block/dm-0/dm/name", "data\n").file("/sys/class/block/dm-0/dm/uuid", "CRYPT-LUKS2-x-data\n");
  host.file("/dev/x", Buffer.alloc(1 << 16));
  await expect(check(contextWith(["fits-1"]))).rejects.toMatchObject(SENTENCE);
  const torn = luks2Bytes(UUID, {});
  torn[5000] = 1;
  torn[0x4000 + 5000] = 1;
  host.file("/dev/x", torn);
  await expect(check(contextWith(["fits-1"]))).rejects.toMatchObject(SENTENCE);
});

test("a run that is stopped is no lost key", async () => {
  const stopping = new AbortController();
  stopping.abort(new Error("stopped"));
  const context = contextWith(["fits-1"], { signal: stopping.signal });
  await expect(check(context, { force: true })).rejects.toThrow("stopped");
});
