import { expect, test } from "vitest";
import { type HeaderFacts, MAX_HEADER_BYTES } from "../../../../src/core/volume-header.ts";
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
