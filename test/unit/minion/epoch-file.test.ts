import { beforeEach, expect, test } from "vitest";
import { createLogger } from "../../../src/core/log.ts";
import { openEpochFile } from "../../../src/minion/epoch-file.ts";
import { FakeHost } from "../../fakes/fake-host.ts";

const log = createLogger("test", "silent");
const path = "/state/job-epochs.json";
const signed = (epoch: number) => ({ epoch, nonce: Buffer.alloc(16, epoch), signature: Buffer.alloc(64, epoch) });
let host: FakeHost;

beforeEach(async () => {
  host = new FakeHost();
  await host.makeDirectory("/state", 0o700);
});

test("the newest epoch of each master outlasts a restart, for the sixteen whose epoch was kept last", async () => {
  const first = await openEpochFile(host, path, log);
  expect(first.of("SHA256:a")).toBeUndefined();
  await Promise.all([first.save("SHA256:a", signed(1)), first.save("SHA256:b", signed(2))]);
  await first.save("SHA256:a", signed(3));
  const second = await openEpochFile(host, path, log);
  expect([second.of("SHA256:a"), second.of("SHA256:b")]).toEqual([signed(3), signed(2)]);
  for (let n = 0; n < 15; n += 1) await second.save(`SHA256:m${n}`, signed(n));
  const third = await openEpochFile(host, path, log);
  expect(third.of("SHA256:b")).toBeUndefined();
  expect(third.of("SHA256:a")).toEqual(signed(3));
  expect(third.of("constructor")).toBeUndefined();
});

test.each(["", "{", "[]", '{"SHA256:a":{"epoch":-1,"nonce":"","signature":""}}'])(
  "a damaged file, %j, counts as empty and is written anew",
  async (text) => {
    await host.writeFile(path, Buffer.from(text), { mode: 0o600 });
    const file = await openEpochFile(host, path, log);
    expect(file.of("SHA256:a")).toBeUndefined();
    await file.save("SHA256:a", signed(1));
    expect((await openEpochFile(host, path, log)).of("SHA256:a")).toEqual(signed(1));
  },
);
