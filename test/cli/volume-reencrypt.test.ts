import { afterEach, expect, test } from "vitest";
import type { JobRequest } from "../../src/core/control-api.ts";
import { type FakeMaster, startFakeMaster } from "./fake-master.ts";
import { runCli } from "./run-cli.ts";

let fake: FakeMaster | undefined;
afterEach(() => fake?.close());

test("reencrypt wants to hear of a backup and the volume's name typed out, and pushes nothing without", async () => {
  const jobs: JobRequest[] = [];
  fake = await startFakeMaster({
    job: (request) => {
      jobs.push(request);
      return [
        { event: "start", jid: "20261122160047123456", targets: ["web1"], offline: [] },
        { event: "return", id: "web1", fun: request.fun, success: true, retcode: 0, durationMs: 5, data: {} },
        { event: "end", succeeded: 1, failed: 0, missing: 0 },
      ];
    },
  });
  const { socket } = fake;
  const asked = ["volume", "reencrypt", "web1/data", "--i-have-a-backup"];
  const unsafe = await runCli(["volume", "reencrypt", "web1/data", "--confirm", "data"], { socket });
  expect([unsafe.status, unsafe.stderr]).toEqual([2, expect.stringContaining("add --i-have-a-backup")]);
  const wrong = await runCli(asked, { socket, answers: ["yes"] });
  expect([wrong.status, wrong.stderr]).toEqual([2, expect.stringContaining("its name was not typed")]);
  const silent = await runCli(asked, { socket });
  expect([silent.status, silent.stderr]).toEqual([2, expect.stringContaining("hint: add --confirm data")]);
  expect(jobs).toEqual([]);
  expect((await runCli(asked, { socket, answers: ["data"] })).status).toBe(0);
  const given = [...asked, "--confirm", "data", "--drop-slots", "1,2"];
  expect((await runCli(given, { socket })).status).toBe(0);
  expect(jobs.map(({ fun, args, kwargs }) => [fun, args, kwargs])).toEqual([
    ["volume.reencrypt", ["data"], { i_have_a_backup: true }],
    ["volume.reencrypt", ["data"], { i_have_a_backup: true, drop_slots: [1, 2] }],
  ]);
});
