import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { VolumeProblem, VolumeReport } from "../../../src/core/volume-report.ts";
import { startMinion } from "../wire/pair.ts";
import { portsOf, rig, scratch } from "./rig.ts";

let directory: string;
let remove: () => void;
let ending: (() => Promise<unknown>)[];
beforeEach(() => {
  ({ directory, remove } = scratch());
  ending = [];
  for (const name of ["pillar/hosts", "states"]) mkdirSync(join(directory, name), { recursive: true });
  writeFileSync(
    join(directory, "pillar/hosts/web1.yaml"),
    "volumes:\n  data: { disk: /dev/vdb, luks: { key: !generate } }\n",
  );
});
afterEach(async () => {
  for (const end of ending.toReversed()) await end();
  remove();
});

const report = (problems: VolumeProblem[]): VolumeReport => ({
  volume: "data",
  at: 1000,
  state: "up",
  keyPath: "volumes:data:luks:key",
  device: "/dev/vdb",
  luksUuid: "0f6e2c4a-9d1b-4a53-8f0e-0123456789ab",
  headerDigest: "",
  slots: [],
  proven: { version: 0, at: 0 },
  disk: { serial: "", bytes: 0, pvUuids: [] },
  problems,
});

test("problem_command is told of each problem that a report has for the first time, by name and never with a key", async () => {
  const heard = join(directory, "heard");
  const command = ["/bin/sh", "-c", 'cat >> "$0"; echo >> "$0"', heard];
  const one = await rig(directory, {}, { auto_accept: true, problem_command: command });
  ending.push(async () => one.stop());
  const minion = startMinion(portsOf(one), { id: "web1", fingerprints: [one.master.fingerprint] });
  ending.push(async () => minion.connection.close());
  await minion.connection.ready(AbortSignal.timeout(60_000));
  const tell = async (...problems: VolumeProblem[]) =>
    minion.connection.request("volume.report", { reports: [report(problems)] });
  const notices = () =>
    existsSync(heard)
      ? readFileSync(heard, "utf8")
          .split("\n")
          .flatMap((line) => (line === "" ? [] : [JSON.parse(line) as Record<string, unknown>]))
      : [];

  const slot = { code: "unknown-slot", text: "keyslot 2 was made by nobody of ours", fatal: false };
  const lost = { code: "key-does-not-open", text: "the stored key does not open this volume", fatal: true };
  await tell(slot);
  await expect.poll(() => notices().length).toBe(1);
  await tell(slot, lost);
  await tell(slot, lost);
  await expect.poll(() => notices().length).toBe(2);
  const about = { event: "volume-problem", host: "web1", volume: "data" };
  expect(notices()).toEqual([
    { ...about, code: slot.code, text: slot.text, nextBootFails: false, since: expect.any(String) as string },
    { ...about, code: lost.code, text: lost.text, nextBootFails: true, since: expect.any(String) as string },
  ]);
});
