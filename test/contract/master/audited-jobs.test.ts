import { join } from "node:path";
import { expect, test } from "vitest";
import { controlClient } from "../../../src/cli/control-client.ts";
import type { AuditRecord } from "../../../src/core/audit/chain.ts";
import type { JobEvent, KeyList } from "../../../src/core/control-api.ts";
import { argumentsDigest } from "../../../src/core/operator-statement.ts";
import { usePlace } from "./place.ts";
import { portsOf, type Rig } from "./rig.ts";

const place = usePlace();

const job = (fun: string, ...args: readonly string[]) => ({
  target: { kind: "glob", expr: "web*" },
  fun,
  args,
  kwargs: {},
  timeoutMs: 200,
});
const clientOf = (user: string) =>
  controlClient(join(place.directory, "run/master.sock"), new AbortController().signal, user);
const records = async ({ client }: Rig, kind: string) =>
  Array.fromAsync(client.stream<AuditRecord>("GET", `/v1/audit?kind=${kind}`));

test("every job that acts is on record with who asked, what, whom and its id; never with its arguments", async () => {
  const one = await place.start({});
  const functions = ["cmd.run", "state.apply", "state.highstate", "system.reboot"] as const;
  const ids: string[] = [];
  for (const fun of [...functions, "test.ping"]) {
    const events = await Array.fromAsync(clientOf("ann").stream<JobEvent>("POST", "/v1/jobs", job(fun, "swordfish")));
    ids.push(events[0]?.event === "start" ? events[0].jid : "");
  }
  const noted = await records(one, "job-started");
  expect(noted).toMatchObject(
    functions.map((fun, index) => ({
      actor: "root",
      from: "control socket",
      data: { user: "ann", fun, jid: ids[index], target: "web*", args: argumentsDigest(["swordfish"], {}), hosts: 0 },
    })),
  );
  expect(JSON.stringify(noted)).not.toContain("swordfish");
});

test("whatever comes by the control socket has the name that its client says, and none where that is no name", async () => {
  const one = await place.start({});
  for (const user of ["ann", "a b\u001b[31m", "", "x".repeat(65)]) {
    await Array.fromAsync(clientOf(user).stream("POST", "/v1/jobs", job("cmd.run")));
  }
  const said = (await records(one, "job-started")).map(({ data }) => data["user"]);
  expect(said).toEqual(["ann", undefined, undefined, undefined]);
  await place.connect(portsOf(one), { id: "web1", fingerprints: [one.master.fingerprint] });
  await clientOf("bob").request<KeyList>("POST", "/v1/keys", { action: "reject", match: "web1", dryRun: false });
  expect(await records(one, "key-rejected")).toMatchObject([{ actor: "root", data: { user: "bob" } }]);
  // what the master does by itself is nobody's
  expect((await records(one, "master-started"))[0]?.data).not.toHaveProperty("user");
});
