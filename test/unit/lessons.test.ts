import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { expect, test } from "vitest";
import { Secret } from "../../src/core/secret.ts";
import { maskArgv } from "../../src/minion/mask-argv.ts";

const ROOT = resolve(import.meta.dirname, "../..");

function sourcesBelow(folder: string): ReadonlyMap<string, string> {
  const names = readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".ts"),
  );
  return new Map(names.map((name) => [join(folder, name), readFileSync(join(ROOT, folder, name), "utf8")]));
}

/**
 * What became somebody else's vulnerability, a line each, with the words that the test titles about it must hold. Salt's
 * are named by their CVE numbers.
 */
const LESSONS: readonly (readonly [line: string, titles: RegExp])[] = [
  ["remote methods are an explicit allow-list; before acceptance there is authentication only", /2020-11651/u],
  ["ids, job ids and paths match a strict pattern, paths are proven inside their root", /2020-11652/u],
  ["reads never open FIFOs or devices", /2024-22231|2024-38824/u],
  ["no shell, no option injection", /2020-16846/u],
  ["keys and secret files are 0600 from their first byte, temporary names unpredictable", /2020-17490/u],
  ["others' files are refused", /2023-34049/u],
  ["every entry point checks who asks", /2020-25592/u],
  ["peers are verified by default, what is signed dies at its expiry", /2020-28972/u],
  ["templates are sandboxed, YAML is the safe subset", /2021-25283/u],
  ["commands and credentials are not logged", /2021-25284/u],
  ["hashes are verified before a file is used", /2021-21996/u],
  ["what is said is authenticated end to end", /2022-22934/u],
  ["replayed jobs, replies and requests are refused", /2022-22935|2022-22936/u],
  ["targeting and access control fail closed", /2022-22941/u],
  ["a malformed message never takes a worker down", /2023-20897/u],
  ["a broken pillar is a failed run", /2024-37088/u],
  ["older protocol versions cannot be forced", /2024-38822|2025-62349/u],
  ["proof of possession, always", /2024-38825/u],
  ["minions speak only for themselves", /2025-22236/u],
  ["data from a minion never steers the master or its operator", /2025-22239/u],
  ["deleting a key cuts the live session at once", /#52662|deleting a key cuts/u],
  ["no plaintext in an editor's temporary file", /plaintext in an editor/u],
  ["no header backup is left in a temporary directory", /clevis/u],
  ["no secret in a shell string, no verification switched off", /Laniakea/u],
  ["keys come from the system's random source", /OpenSVC/u],
];

const titles = [...sourcesBelow("test").values()].flatMap((text) => text.match(/lesson: .*/gu) ?? []);

test.each(LESSONS)("a test holds the lesson: %s", (_line, words) => {
  expect(titles.filter((title) => words.test(title))).not.toEqual([]);
});

test("lesson: 2021-25284 credentials in a command's arguments never reach an error or a log", () => {
  const argv = ["tool", "--password", "hunter2", "--token=abc123", "PASSPHRASE=open sesame", "plain"];
  const shown = maskArgv(argv).join(" ");
  expect(shown).not.toMatch(/hunter2|abc123|open/u);
  expect(shown).toContain("plain");
});

test("lesson: 2021-25284 what a job is called with is not logged, only its function and number", () => {
  const loggers = [...sourcesBelow("src/minion"), ...sourcesBelow("src/master")].flatMap(([file, text]) =>
    (text.match(/\blog\.(?:debug|info|warn|error)\([^;]*\);/gu) ?? []).map((call) => `${file}: ${call}`),
  );
  expect(loggers.length).toBeGreaterThan(20);
  expect(loggers.filter((call) => /\b(?:args|kwargs|stdin|argv)\b/u.test(call))).toEqual([]);
});

test("lesson: 2021-25284 a secret prints, serialises and concatenates as a mask", () => {
  const bytes = Buffer.from("correct horse battery staple");
  const secret = Secret.take(bytes);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
  expect([String(secret), JSON.stringify({ secret })].join()).toBe('[secret],{"secret":"[secret]"}');
});

test("lesson: Laniakea no secret in a shell string: a shell runs only what cmd and the guards are written to run", () => {
  const shells = [...sourcesBelow("src")]
    .filter(([, text]) => /shell: true|["']\/bin\/sh["']/u.test(text))
    .map(([file]) => file);
  expect(shells.map((file) => relative("src", file)).sort()).toEqual([
    "minion/engine/guards.ts",
    "minion/functions/cmd.ts",
    "states/cmd/params.ts",
    "states/file/check-content.ts",
  ]);
});

test("lesson: Laniakea no peer's verification is ever switched off", () => {
  const off = [...sourcesBelow("src")].filter(([, text]) =>
    /rejectUnauthorized|NODE_TLS_REJECT_UNAUTHORIZED/u.test(text),
  );
  expect(off.map(([file]) => file)).toEqual([]);
});

test("lesson: OpenSVC keys come from the system's random source: Math.random serves jitter and job numbers of the minion alone", () => {
  const users = [...sourcesBelow("src")].filter(([, text]) => text.includes("Math.random")).map(([file]) => file);
  expect(users.filter((file) => !["src/minion/agent.ts", "src/minion/call.ts"].includes(file))).toEqual([]);
});
