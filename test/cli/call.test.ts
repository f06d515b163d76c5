import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { spawnCli, transcriptOf } from "./run-cli.ts";

const WAIT = { timeout: 60_000 };
let scratch = "";
let children: ChildProcess[] = [];
const at = (name: string) => join(scratch, name);

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "latchkey-call-test-"));
  children = [];
  writeFileSync(
    at("minion.yaml"),
    JSON.stringify({ id: "web1", log_level: "debug", state_dir: at("state"), run_dir: at("run") }),
  );
  writeFileSync(at("slow.sls"), `slow:\n  cmd.run:\n    - name: touch ${at("begun")}; exec sleep 600\n`);
});
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(scratch, { recursive: true, force: true });
});

function call(...words: readonly string[]): ChildProcess {
  const local = ["call", "--local", "-c", at("minion.yaml"), "--file-root", scratch, "--pillar-root", scratch];
  const child = spawnCli([...local, ...words], {});
  children.push(child);
  return child;
}

test.each([
  ["a function", ["cmd.run", "touch begun; exec sleep 600"]],
  ["a state run", ["state.apply", "slow"]],
])("Ctrl-C in %s ends it with 130", async (_, [fun = "", word = ""]) => {
  const child = call(fun, word.replace("begun", at("begun")));
  const transcript = transcriptOf(child);
  await expect.poll(() => existsSync(at("begun")), WAIT).toBe(true);
  child.kill("SIGINT");
  expect(await transcript).toMatchObject({ stdout: "", status: 130 });
});

test("Ctrl-C while another run is waited for ends with 130, and says before who runs", async () => {
  const first = call("state.apply", "slow");
  await expect.poll(() => existsSync(at("begun")), WAIT).toBe(true);
  const second = call("state.apply", "slow");
  let said = "";
  second.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
  const transcript = transcriptOf(second);
  await expect
    .poll(() => said, WAIT)
    .toMatch(new RegExp(`state\\.apply \\(job \\d+\\) as PID ${first.pid} since `, "u"));
  second.kill("SIGINT");
  expect((await transcript).status).toBe(130);
});
