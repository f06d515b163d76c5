import { expect, test } from "vitest";
import { type HeaderFacts, type HeaderSlot, MAX_HEADER_BYTES } from "../../../../src/core/volume-header.ts";
import { HeaderRequests } from "../../../../src/master/volumes/header-requests.ts";
import { FakeSession, HandClock } from "../fakes.ts";

const factsOf = (volume: string): HeaderFacts => ({
  volume,
  digest: "0".repeat(64),
  bytes: MAX_HEADER_BYTES,
  luksUuid: "u",
  reason: "check",
  device: "/dev/vdb",
  deviceBytes: 0,
  disk: { serial: "", bytes: 0, pvUuids: [] },
  slots: [],
  volumeKey: "0".repeat(16),
});

test("lesson: 2023-20897 one host's announced headers take neither the master's memory nor the others' room", async () => {
  const clock = new HandClock();
  const requests = new HeaderRequests(
    { known: async () => undefined, add: async () => 1, list: async () => [], release: async () => undefined },
    clock,
    async () => 0,
  );
  const [bad, good] = [new FakeSession("bad"), new FakeSession("good")];
  const offer = async (session: FakeSession, volume: string) =>
    requests.offer(session, { facts: factsOf(volume) }).then(
      ({ verdict }) => verdict,
      (error: unknown) => (error instanceof Error ? error.message : ""),
    );
  expect(await offer(bad, "a")).toBe("send");
  expect(await offer(bad, "b")).toBe("send");
  expect(await offer(bad, "c")).toContain("too much is under way");
  // another try for the same volume takes the place of the one before
  expect(await offer(bad, "b")).toBe("send");
  expect(await offer(good, "a")).toBe("send");
  clock.time += 120_001;
  expect(await offer(bad, "c")).toBe("send");
});

test("hosts that announce their full share at once, and send nothing, keep no other host's header out", async () => {
  const clock = new HandClock();
  const requests = new HeaderRequests(
    { known: async () => undefined, add: async () => 1, list: async () => [], release: async () => undefined },
    clock,
    async () => 0,
  );
  const offer = async (id: string, volume: string) => {
    const answer = await requests.offer(new FakeSession(id), { facts: factsOf(volume) }).catch(() => undefined);
    return answer?.verdict === "send" ? answer.upload : undefined;
  };
  for (let n = 0; n < 7; n += 1) for (const volume of ["a", "b"]) await offer(`bad${n}`, volume);
  const good = await offer("good", "a");
  expect(good).toBeTypeOf("string");
  // one that is being sent stays, whoever announces what
  const piece = { upload: good ?? "", data: Buffer.alloc(1000) };
  for (let round = 0; round < 10; round += 1) {
    clock.time += 1000;
    await requests.chunk(new FakeSession("good"), { ...piece, offset: round * 1000 });
    for (let n = 0; n < 7; n += 1) for (const volume of ["a", "b"]) await offer(`bad${n}`, volume);
  }
  // nor do many hosts with one each, from when they send nothing
  for (let n = 0; n < 20; n += 1) await offer(`many${n}`, "a");
  clock.time += 5000;
  expect(await offer("late", "a")).toBeTypeOf("string");
});

test("a header says when every version of its key was set aside: one of another life of the volume does not count", async () => {
  const slot = (version: number): HeaderSlot => {
    return { slot: 0, kdf: "pbkdf2", priority: "prefer", version, mark: "0".repeat(16), trusted: true };
  };
  const header = (version: number, proven: number, ...slots: readonly number[]) => ({
    ...factsOf("a"),
    id: "web1",
    version,
    at: 0,
    proven: { version: proven, at: 0 },
    slots: slots.map((key) => slot(key)),
  });
  const all = [header(5, 3, 3), header(4, 0), header(3, 0, 2, 3), header(2, 1, 0, 1), header(1, 2)];
  const requests = new HeaderRequests(
    { known: async () => undefined, add: async () => 1, list: async () => all, release: async () => undefined },
    new HandClock(),
    async () => 2,
  );
  const { headers } = await requests.list(new FakeSession("web1"), { volume: "a" });
  expect(headers.map(({ version, forgotten }) => [version, forgotten])).toEqual([
    [5, undefined],
    [4, undefined],
    [3, undefined],
    [2, true],
    [1, true],
  ]);
});
