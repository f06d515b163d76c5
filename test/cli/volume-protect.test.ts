import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import type { JobEvent, JobRequest } from "../../src/core/control-api.ts";
import { readPublicKeyLine } from "../../src/core/operator-key.ts";
import { isStatementSigned } from "../../src/core/operator-statement.ts";
import type { HoldList } from "../../src/core/release-api.ts";
import type { SignedAsk } from "../../src/master/volumes/erasures.ts";
import type { ErasureEntry } from "../../src/core/volume-api.ts";
import { type FakeMaster, type Refusal, startFakeMaster } from "./fake-master.ts";
import { runCli } from "./run-cli.ts";

const masters: FakeMaster[] = [];
afterEach(async () => {
  await Promise.all(masters.splice(0).map((master) => master.close()));
});

const HOLDS: HoldList = {
  holds: [],
  revocations: [],
  locks: [{ id: "db1", path: null, volume: "", by: "ann", at: 0 }],
  master: "SHA256:x",
  now: 0,
  approvalMs: 60_000,
  operators: 0,
};
const asked = (approvals: readonly string[]): ErasureEntry => ({
  erasure: "ab".repeat(16),
  id: "db1",
  volume: "data",
  luksUuid: "0f6e",
  by: "root",
  expires: 1,
  state: "asked",
  approvals,
  needed: 2,
  master: "SHA256:x",
  now: 0,
  approvalMs: 60_000,
});

interface Given {
  readonly success?: boolean;
  readonly answers?: readonly string[];
  readonly approvals?: readonly string[];
  readonly refuse?: () => Refusal | undefined;
}

async function cli(words: readonly string[], { success = true, answers = [], approvals = [], refuse }: Given = {}) {
  const requests: JobRequest[] = [];
  const posted: [string, unknown][] = [];
  const job = (request: JobRequest): readonly JobEvent[] => {
    requests.push(request);
    const data = { data: { result: success, comment: "closed", changes: {} } };
    return [
      { event: "start", jid: "20261122160047123456", targets: ["db1"], offline: [] },
      { event: "return", id: "db1", fun: request.fun, success, retcode: success ? 0 : 1, data, durationMs: 3 },
      { event: "end", succeeded: success ? 1 : 0, failed: success ? 0 : 1, missing: 0 },
    ];
  };
  const post = (path: string, body: unknown) => {
    posted.push([path, body]);
    return path.startsWith("/v1/erasures") ? asked(approvals) : undefined;
  };
  const master = await startFakeMaster({ job, json: { "/v1/holds": HOLDS }, post, ...(refuse ? { refuse } : {}) });
  masters.push(master);
  const transcript = await runCli(words, { socket: master.socket, answers });
  return { ...transcript, requests, posted };
}

test("lock pushes the job, and says which leases wait from now on", async () => {
  const { status, stderr, requests } = await cli(["volume", "lock", "db1"]);
  expect(requests).toMatchObject([{ fun: "volume.lock", target: { expr: "db1" }, args: [] }]);
  expect(status).toBe(0);
  expect(stderr).toContain("locked: every lease of db1 waits, locked by ann\n");
});

test("lease list --held shows what is locked: a hold that nobody can approve", async () => {
  const { status, stdout, stderr } = await cli(["lease", "list", "--held"]);
  expect(status).toBe(0);
  expect(stdout).toMatch(
    /^nothing is held\n\nLOCKED +VOLUME +SECRET +BY +SINCE\ndb1 +every volume +every secret +ann +never\n$/u,
  );
  expect(stderr).toBe("nobody can approve what is locked: latchkey volume unlock\n");
  const { stdout: json } = await cli(["lease", "list", "--held", "--out", "json"]);
  expect(JSON.parse(json)).toMatchObject({ holds: [], locks: [{ id: "db1", by: "ann" }] });
});

test("a lock that a host could not carry out fails, and says all the same what is held", async () => {
  const { status, stderr } = await cli(["volume", "lock", "db1/data"], { success: false });
  expect(status).toBe(1);
  expect(stderr).toContain("locked: every lease of db1 waits");
});

test.each([
  [["unlock", "db1/data"], { fun: "volume.unlock", args: ["data"] }],
  [["rescue", "db1/data"], { fun: "volume.rescue", args: ["data"], kwargs: {} }],
  [["erase", "db1/data", "--yes-erase", "data"], { fun: "volume.erase", args: ["data"], kwargs: {} }],
  [["erase", "db1/data", "--yes-erase", "data", "--force"], { fun: "volume.erase", kwargs: { force: true } }],
])("%j", async (words, expected) => {
  expect((await cli(["volume", ...words])).requests).toMatchObject([expected]);
});

describe("erase", () => {
  test.each(["", "yes", "Data", "logs"])("%j in place of the name erases nothing", async (answer) => {
    const { status, stderr, requests } = await cli(["volume", "erase", "db1/data"], { answers: [answer] });
    expect({ status, requests }).toEqual({ status: 1, requests: [] });
    expect(stderr).toContain("nothing was erased\n");
  });

  test.each([[["erase", "db1"]], [["erase", "db1/data,logs"]], [["erase", "db*/data", "--final"]]])(
    "%j is refused before anything is sent",
    async (words) => {
      const { status, requests, posted } = await cli(["volume", ...words], { answers: ["data"] });
      expect({ status, requests, posted }).toEqual({ status: 2, requests: [], posted: [] });
    },
  );

  test("for good waits until enough operators have approved", async () => {
    const { status, stdout, stderr, requests } = await cli(["volume", "erase", "db1/data", "--final"], {
      approvals: ["ann"],
    });
    expect({ status, requests }).toEqual({ status: 1, requests: [] });
    expect(stdout).toBe("erasing db1/data for good waits for approval: 1 of 2, by ann\n");
    expect(stderr).toBe("operators approve it with: latchkey volume erase-approve db1/data --operator NAME\n");
  });

  test("for good is asked for with the operator's signature, unless one waits already", async () => {
    const directory = mkdtempSync(join(tmpdir(), "latchkey-ask-"));
    const key = join(directory, "ann.key");
    const passphrase = randomBytes(12).toString("hex");
    await runCli(["operator", "keygen", "--out", key], { answers: [passphrase, passphrase] });
    const message = 'cannot erase "data" for good: the operator who asks must sign';
    const error = { code: "not-signed", message, hint: "add --operator NAME", exitStatus: 5 };
    const given = ["volume", "erase", "db1/data", "--final"];
    const unsigned = await cli(given, { refuse: () => ({ httpStatus: 403, error }) });
    expect(unsigned).toMatchObject({ status: 5, stderr: expect.stringContaining(message) as string });
    let refusals = 1;
    const refuse = () => (refusals-- > 0 ? { httpStatus: 403, error } : undefined);
    const { posted, status } = await cli([...given, "--operator", "ann", "--key", key], {
      refuse,
      answers: [passphrase],
    });
    expect(status).toBe(1);
    const [[path, body] = []] = posted as readonly [string, { readonly asked: SignedAsk }][];
    expect(path).toBe("/v1/erasures");
    const { statement, signature } = body?.asked ?? {};
    const about = { what: "ask-erase", master: "SHA256:x", minion: "db1", volume: "data", operator: "ann" };
    expect(statement).toMatchObject(about);
    const publicKey = Buffer.from(readPublicKeyLine(readFileSync(`${key}.pub`, "utf8")), "base64");
    expect(statement && isStatementSigned(statement, publicKey, signature ?? "")).toBe(true);
    rmSync(directory, { recursive: true });
  });

  test("for good erases the host's keyslots first, then has the master destroy the rest", async () => {
    const approvals = ["ann", "bob"];
    const given = ["volume", "erase", "db1/data", "--final", "--yes-erase", "data"];
    const { status, stdout, requests, posted } = await cli(given, { approvals });
    expect(status).toBe(0);
    expect(requests).toMatchObject([{ fun: "volume.erase", target: { kind: "list", expr: "db1" } }]);
    expect(posted.at(-1)).toEqual(["/v1/erasures/execute", { id: "db1", volume: "data", typed: "data" }]);
    expect(stdout).toContain("erased db1/data for good: no header and no key of it is left at the master\n");
  });

  test("for good keeps the keys when the host did not erase its keyslots", async () => {
    const approvals = ["ann", "bob"];
    const given = ["volume", "erase", "db1/data", "--final", "--yes-erase", "data"];
    const { status, stderr, posted } = await cli(given, { approvals, success: false });
    expect(status).toBe(1);
    expect(posted.map(([path]) => path)).not.toContain("/v1/erasures/execute");
    expect(stderr).toContain("the keys are kept. --host-gone when it is gone for good");
    // to skip the safeguards on the host is no word that its keyslots are dead
    const forced = await cli([...given, "--force"], { approvals, success: false });
    expect(forced.status).toBe(1);
    expect(forced.posted.map(([path]) => path)).not.toContain("/v1/erasures/execute");
  });

  test("for good without a host that is gone asks nothing of it, and says what that means", async () => {
    const given = ["volume", "erase", "db1/data", "--final", "--host-gone", "--yes-erase", "data"];
    const { status, stderr, requests, posted } = await cli(given, { approvals: ["ann", "bob"] });
    expect({ status, requests }).toEqual({ status: 0, requests: [] });
    const body = { id: "db1", volume: "data", typed: "data", hostGone: true };
    expect(posted.at(-1)).toEqual(["/v1/erasures/execute", body]);
    expect(stderr).toContain("nothing proves that the keyslots of db1/data are erased: that goes into the audit log\n");
    expect(await cli(["volume", "erase", "db1/data", "--host-gone"])).toMatchObject({ status: 2, requests: [] });
  });
});

test("a refusal of the guard is told with its sentence and the command that mends it", async () => {
  const message =
    "no verified copy of the key of volume db1/data would remain: restore the key or use --force to skip this safeguard";
  const hint = "no stored key was ever seen to open it; try `latchkey volume check db1/data`";
  const refuse = () => ({ httpStatus: 422, error: { code: "key-not-kept", message, hint, exitStatus: 3 } });
  const { status, stderr } = await cli(["keys", "delete", "db1", "--yes"], { refuse });
  expect(status).toBe(3);
  expect(stderr).toContain(message);
  expect(stderr).toContain(hint);
});
