import { afterEach, expect, test } from "vitest";
import type { JobReport, LeaseList } from "../../src/core/control-api.ts";
import { type FakeMaster, startFakeMaster } from "./fake-master.ts";
import { runCli } from "./run-cli.ts";

let fake: FakeMaster | undefined;
afterEach(() => fake?.close());

const REPORT: JobReport = {
  jid: "20261122160047123456",
  fun: "test.ping",
  args: [],
  kwargs: {},
  issuedAt: 0,
  targets: ["web1", "web2"],
  returns: [{ id: "web1", success: true, retcode: 0, data: true, receivedAt: 0, durationMs: 3 }],
};

test("jobs show prints what returned, and who has not", async () => {
  fake = await startFakeMaster({ report: () => REPORT });
  expect(await runCli(["jobs", "show", REPORT.jid], { socket: fake.socket })).toEqual({
    stdout: "test.ping at never: 1 of 2 returned\nweb1:\n    True\nno return yet: web2\n",
    stderr: "",
    status: 1,
  });
  expect(fake.requests).toEqual([`GET /v1/jobs/${REPORT.jid}`]);
});

test("jobs show as JSON is the master's own answer", async () => {
  fake = await startFakeMaster({ report: () => REPORT });
  const { stdout } = await runCli(["jobs", "show", REPORT.jid, "--json"], { socket: fake.socket });
  expect(JSON.parse(stdout)).toEqual(REPORT);
});

const LEASES: LeaseList = {
  leases: [
    {
      at: 0,
      id: "db1",
      path: "password",
      purpose: "open",
      device: "/dev/data/data",
      verdict: "allow",
      receipt: { outcome: "opened", wiped: true, tookMs: 45.2 },
      mounted: { outcome: "mounted", wiped: true, tookMs: 309.7 },
    },
    { at: 0, id: "db2", path: "password", purpose: "open", device: "", verdict: "deny", receipt: null, mounted: null },
    {
      at: 0,
      id: "db3",
      path: "password",
      purpose: "open",
      device: "",
      verdict: "allow",
      receipt: { outcome: "failed" },
      mounted: null,
    },
    {
      at: 0,
      id: "db4",
      path: "password",
      purpose: "open",
      device: "",
      verdict: "allow",
      receipt: null,
      mounted: { outcome: "mounted", wiped: true, tookMs: 9 },
    },
  ],
};

test("leases prints who got which key and what became of it", async () => {
  fake = await startFakeMaster({ leases: () => LEASES });
  const { stdout } = await runCli(["leases", "--limit", "3"], { socket: fake.socket });
  expect(stdout).toBe(`TIME   MINION  SECRET    PURPOSE  DEVICE          VERDICT  KEY
never  db1     password  open     /dev/data/data  allow    opened 45 ms, wiped; mounted 310 ms
never  db2     password  open     -               deny     -
never  db3     password  open     -               allow    failed, NOT wiped
never  db4     password  open     -               allow    mounted 9 ms
`);
  expect(fake.requests).toEqual(["GET /v1/leases?limit=3"]);
  expect((await runCli(["leases", "-n", "none"], { socket: fake.socket })).status).toBe(2);
});
