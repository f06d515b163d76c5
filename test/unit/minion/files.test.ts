import { hash } from "node:crypto";
import { expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";
import { HostError } from "../../../src/core/errors.ts";
import type { Host } from "../../../src/core/host.ts";
import { createFileClient } from "../../../src/minion/files.ts";
import { createLink } from "../../../src/minion/link.ts";
import { FakeConnection } from "../../fakes/fake-connection.ts";
import { FakeHost } from "../../fakes/fake-host.ts";
import { plainHost } from "./machine.ts";

const CHUNK = 4;

function setUp(contents: Readonly<Record<string, string>>, listed: Readonly<Record<string, string>> = contents) {
  const host = new FakeHost();
  const warnings: object[] = [];
  const files = Object.entries(listed).map(([path, text]) => ({
    path,
    size: text.length,
    sha256: hash("sha256", text),
  }));
  const connection = new FakeConnection({
    "files.list": () => ({ files }),
    "files.get": ({ path, offset }) => {
      const data = Buffer.from(contents[path] ?? "");
      const end = offset + CHUNK;
      return { found: path in contents, data: data.subarray(offset, end), eof: end >= data.length };
    },
  });
  const link = createLink(connection, systemClock, () => 0);
  const patience = { waitMs: 1000, signal: new AbortController().signal };
  const log = { warn: (facts: object) => void warnings.push(facts) };
  const client = (on: Host = host) => createFileClient(on, link, "/c", patience, log);
  const gets = () => connection.asked.filter(({ method }) => method === "files.get").length;
  return { host, client, gets, warnings };
}

test("fetches in chunks, then takes files from the cache", async () => {
  const { client, gets, host } = setUp({ "a/b.sls": "0123456789" });
  expect((await client().read("a/b.sls"))?.toString()).toBe("0123456789");
  expect(gets()).toBe(3);
  expect((await client().source("salt://a/b.sls"))?.data.toString()).toBe("0123456789");
  expect(gets()).toBe(3);
  expect((await host.readDirectory("/c/files"))?.length).toBe(1);
  expect(await client().read("nothing.sls")).toBeUndefined();
});

test("lesson: 2021-21996 contents that do not match their hash are never used, from the wire or from the cache", async () => {
  const forged = setUp({ x: "evil" }, { x: "good" });
  await expect(forged.client().read("x")).rejects.toMatchObject({ code: "bad-hash" });
  const { host, client, gets } = setUp({ x: "good" });
  await client().read("x");
  host.file(`/c/files/${hash("sha256", "good")}`, "evil");
  expect((await client().read("x"))?.toString()).toBe("good");
  expect(gets()).toBe(2);
});

test("lesson: 2020-11652 paths are below the file roots or nothing", async () => {
  const { client } = setUp({ "../etc/passwd": "x", "a//b": "x" });
  for (const path of ["../etc/passwd", "a//b", "/etc/passwd", ""]) expect(await client().read(path)).toBeUndefined();
  await expect(client().source("salt://../etc/passwd")).rejects.toMatchObject({ code: "bad-source" });
});

test("prunes what the master has no more", async () => {
  const { client, host } = setUp({ x: "good" });
  host.file(`/c/files/${"0".repeat(64)}`, "old");
  const run = client();
  await run.read("x");
  await run.prune();
  expect(await host.readDirectory("/c/files")).toEqual([hash("sha256", "good")]);
});

test("a disk that takes nothing costs the cache, not the run", async () => {
  const { client, host, gets, warnings } = setUp({ x: "good" });
  const full = (path: string) => new HostError("file-failed", `cannot write "${path}": no space left on device`);
  host.file(`/c/files/${"0".repeat(64)}`, "old");
  const run = client({
    ...plainHost(host),
    writeFile: async (path) => Promise.reject(full(path)),
    remove: async (path) => Promise.reject(full(path)),
  });
  expect((await run.read("x"))?.toString()).toBe("good");
  expect((await run.read("x"))?.toString()).toBe("good");
  expect(gets()).toBe(2);
  await run.prune();
  expect(warnings).toHaveLength(3);
  expect(warnings[0]).toMatchObject({ reason: expect.stringContaining("no space left") as string });
});
