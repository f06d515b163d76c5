import { expect, test } from "vitest";
import { pacedHandlers } from "../../../src/master/paced-handlers.ts";
import type { MasterHandlers } from "../../../src/wire/endpoints.ts";
import { FakeSession, HandClock } from "./fakes.ts";

test("lesson: 2023-20897 one host cannot fill the master's disk with records, and keeps no other from its key", async () => {
  const clock = new HandClock();
  const served = new Map<string, number>();
  const handlers: MasterHandlers = {
    holder: () => undefined,
    admit: async () => "accept",
    opened: () => {},
    closed: () => {},
    request: async ({ minionId }, method) => {
      served.set(minionId, (served.get(minionId) ?? 0) + 1);
      throw new Error(method);
    },
  };
  const paced = pacedHandlers(handlers, clock);
  const [bad, good] = [new FakeSession("bad"), new FakeSession("good")];
  const forget = async (session: FakeSession) =>
    paced.request(session, "volume.forget", { volume: "data", path: "p" }).catch((error: unknown) => error);
  for (let count = 0; count < 5000; count += 1) await forget(bad);
  expect(await forget(bad)).toMatchObject({ code: "busy" });
  expect(served.get("bad")).toBe(5000);
  await forget(good);
  expect(served.get("good")).toBe(1);
  // what leaves nothing behind is served all the same
  await paced.request(bad, "files.list", {}).catch(() => undefined);
  expect(served.get("bad")).toBe(5001);
  for (let count = 1; count < 100; count += 1) await paced.request(bad, "pillar", {}).catch(() => undefined);
  await expect(paced.request(bad, "files.list", {})).rejects.toMatchObject({ code: "busy" });
  await expect(paced.request(bad, "jobs.since", { lastSeq: 0 })).rejects.toThrow("jobs.since");
  expect(served.get("bad")).toBe(5101);
  clock.time += 10_000;
  for (let count = 0; count < 100; count += 1) await forget(bad);
  expect(served.get("bad")).toBe(5121);
});
