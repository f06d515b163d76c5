import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Backing } from "../../../src/minion/backing.ts";
import { createJobContext } from "../../../src/minion/job-context.ts";
import { FakeHost } from "../../fakes/fake-host.ts";
import { fakeMachine } from "./machine.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-job-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

test("a volume command tells the job's leases what it mounts, as a state run does", async () => {
  const mounted: string[] = [];
  const pillar = { volumes: { data: { disk: "/dev/vdb", fs: { type: "ext4" }, mount: { point: "/data" } } } };
  const machine = fakeMachine(directory, new FakeHost(), { pillar });
  const backing: Backing = {
    ...machine.backing,
    leases: (patience) => ({ ...machine.backing.leases(patience), mounted: (device) => mounted.push(device) }),
  };
  const { context } = createJobContext(
    { ...machine, backing },
    { jid: "1", fun: "volume.start", signal: new AbortController().signal, waitMs: 0, progress: () => {} },
  );
  const works = await Promise.all((await context.volumes.select(["data"])).map((one) => context.volumes.context(one)));
  for (const work of works) work.at("mount").mounted?.("/dev/vdb");
  expect(mounted).toEqual(["/dev/vdb"]);
});
