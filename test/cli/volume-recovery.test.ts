import { afterEach, expect, test } from "vitest";
import { decryptAge } from "../../src/core/age-decrypt.ts";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../src/core/age-identity.ts";
import type { JobRequest } from "../../src/core/control-api.ts";
import { type FakeMaster, startFakeMaster } from "./fake-master.ts";
import { runCli } from "./run-cli.ts";

const identity = parseAgeIdentityFile(generateAgeIdentityFile("now"), "test");
const other = parseAgeIdentityFile(generateAgeIdentityFile("now"), "test");
const TICKET = "0123456789abcdef0123456789abcdef";

let fake: FakeMaster | undefined;
afterEach(() => fake?.close());

interface Said {
  job?: JobRequest;
  offer?: { readonly id: string; readonly armored: string };
}

async function masterThat(succeeds: boolean): Promise<Said> {
  const said: Said = {};
  const data = {
    data: { result: succeeds, comment: succeeds ? "the passphrase is in keyslot 1" : "no room", changes: {} },
  };
  fake = await startFakeMaster({
    json: { "/v1/recipients": { recipients: [identity.recipient, other.recipient] } },
    post: (path, body) => {
      if (path !== "/v1/volumes/passphrase") return undefined;
      said.offer = body as NonNullable<Said["offer"]>;
      return { ticket: TICKET };
    },
    job: (request) => {
      said.job = request;
      const retcode = succeeds ? 0 : 1;
      return [
        { event: "start", jid: "20261122160047123456", targets: ["web1"], offline: [] },
        { event: "return", id: "web1", fun: request.fun, success: succeeds, retcode, durationMs: 5, data },
        { event: "end", succeeded: succeeds ? 1 : 0, failed: succeeds ? 0 : 1, missing: 0 },
      ];
    },
  });
  return said;
}

const handedIn = ({ offer }: Said) => {
  using opened = decryptAge(offer?.armored ?? "", identity);
  return opened.expose().toString("utf8");
};

test("I5: add-recovery hands a passphrase to the master alone, names only a ticket in the job, and shows it once", async () => {
  const said = await masterThat(true);
  const { stdout, status } = await runCli(["volume", "add-recovery", "web1/data"], { socket: fake?.socket ?? "" });
  expect(status).toBe(0);
  const shown = /^ {4}([0-9a-z]{4}(?:-[0-9a-z]{4}){6})$/mu.exec(stdout)?.[1];
  expect(stdout).toContain("recovery passphrase of web1/data, shown this once");
  expect(handedIn(said)).toBe(shown);
  expect(() => decryptAge(said.offer?.armored ?? "", other)).toThrow("cannot");
  expect(said.job).toMatchObject({
    target: { kind: "list", expr: "web1" },
    fun: "volume.add_recovery",
    args: ["data"],
    kwargs: { ticket: TICKET },
  });
  expect(JSON.stringify(said.job)).not.toContain(shown);
});

test("one that did not get its keyslot is not shown; one from standard input never is", async () => {
  await masterThat(false);
  const failed = await runCli(["volume", "add-recovery", "web1/data"], { socket: fake?.socket ?? "" });
  expect(failed.status).toBe(1);
  expect(failed.stdout).not.toMatch(/[0-9a-z]{4}-[0-9a-z]{4}-/u);
  expect(failed.stderr).toContain("was not proven and is not shown");
  await fake?.close();
  const said = await masterThat(true);
  const given = { socket: fake?.socket ?? "", input: "correct horse battery" };
  const typed = await runCli(["volume", "add-recovery", "web1/data", "--stdin"], given);
  expect(typed.status).toBe(0);
  expect(handedIn(said)).toBe("correct horse battery");
  expect(typed.stdout).not.toContain("correct horse");
});

test("it is for one volume of one minion; remove-recovery takes a slot by its number", async () => {
  const said = await masterThat(true);
  const socket = fake?.socket ?? "";
  for (const target of ["web1", "web*/data", "web1/data,logs"]) {
    const { stderr, status } = await runCli(["volume", "add-recovery", target], { socket });
    expect([status, stderr]).toEqual([2, expect.stringContaining("name one minion and one volume")]);
  }
  expect(said.offer).toBeUndefined();
  await runCli(["volume", "remove-recovery", "web1/data", "--slot", "2"], { socket });
  expect(said.job).toMatchObject({ fun: "volume.remove_recovery", args: ["data"], kwargs: { slot: 2 } });
  expect((await runCli(["volume", "remove-recovery", "web1/data", "--slot", "x"], { socket })).status).toBe(2);
});
