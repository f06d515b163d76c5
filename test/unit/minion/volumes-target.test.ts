import { beforeEach, expect, test } from "vitest";
import { HostError } from "../../../src/core/errors.ts";
import { createLogger } from "../../../src/core/log.ts";
import { VolumesTarget } from "../../../src/minion/volumes-target.ts";
import { FakeHost } from "../../fakes/fake-host.ts";

const STOP = ["systemctl", "stop", "--quiet", "--", "latchkey-volumes.target"] as const;
const AT_ONCE = ["systemctl", "stop", "--quiet", "--no-block", "--", "latchkey-volumes.target"] as const;
const calm = new AbortController().signal;
let host: FakeHost;
let target: VolumesTarget;

beforeEach(async () => {
  host = new FakeHost()
    .directory("/run/systemd/system")
    .on(["systemctl", "start", "--no-block", "latchkey-volumes.target"])
    .on(STOP)
    .on(AT_ONCE);
  target = new VolumesTarget("/run/latchkey", host, createLogger("test", "silent"));
  await target.reach();
});
const stops = () => host.runs.filter(({ argv }) => argv[1] === "stop").length;

/** A stop that ends when it is told to. */
function slowStop(): { readonly begun: Promise<void>; readonly end: () => void } {
  const [begun, end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  host.on(STOP, async () => {
    begun.resolve();
    await end.promise;
    return {};
  });
  return { begun: begun.promise, end: () => end.resolve() };
}

test("I9: of two volumes that go down at once neither does before what requires them has ended", async () => {
  const { begun, end } = slowStop();
  const gone: string[] = [];
  const first = target.leave("wait", calm).then(() => gone.push("first"));
  const second = target.leave("wait", calm).then(() => gone.push("second"));
  await begun;
  // one that cannot wait does not
  await target.leave("at once", calm);
  expect(gone).toEqual([]);
  end();
  await Promise.all([first, second]);
  expect(gone.toSorted()).toEqual(["first", "second"]);
  expect(stops()).toBe(1);
  expect(target.departures).toBe(3);
});

test("waiting for another's stop ends with one's own signal, and the stop goes on", async () => {
  const { begun, end } = slowStop();
  const first = target.leave("wait", calm);
  await begun;
  const own = new AbortController();
  const second = target.leave("wait", own.signal);
  own.abort(new Error("too late"));
  await expect(second).rejects.toThrow("too late");
  end();
  await first;
});

test.each([
  ["failed", "wait"],
  ["was not waited for", "at once"],
] as const)("I9: after a stop that %s the next volume stops what may run still", async (_what, how) => {
  const late = () => {
    throw new HostError("timed-out", "it takes too long");
  };
  if (how === "wait") host.once(STOP, late);
  const [left] = await Promise.allSettled([target.leave(how, calm)]);
  expect(left?.status).toBe(how === "wait" ? "rejected" : "fulfilled");
  const before = stops();
  await target.leave("wait", calm);
  expect(stops()).toBe(before + 1);
  await target.leave("wait", calm);
  expect(stops()).toBe(before + 1);
  expect(await target.isReached()).toBe(false);
});
