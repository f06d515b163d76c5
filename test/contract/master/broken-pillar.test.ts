import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startMinion } from "../wire/pair.ts";
import { portsOf, rig, scratch } from "./rig.ts";

const TOP = "base:\n  '*':\n    - app\n";

test("lesson: 2024-37088 a broken pillar is answered with its place, never with a word of it", async () => {
  const { directory, remove } = scratch();
  for (const name of ["pillar", "states"]) mkdirSync(join(directory, name));
  const write = (name: string, text: string) => writeFileSync(join(directory, "pillar", name), text);
  const one = await rig(directory, {}, { auto_accept: true });
  const { connection } = startMinion(portsOf(one), { id: "web1", fingerprints: [one.master.fingerprint] });
  try {
    await connection.ready(AbortSignal.timeout(60_000));
    const ask = async (files: Readonly<Record<string, string>>) => {
      for (const [name, text] of Object.entries(files)) write(name, text);
      return connection.request("pillar", {});
    };
    expect(await ask({ "top.sls": TOP })).toEqual({ broken: { kind: "missing-pillar-sls", file: "app.sls" } });
    expect(await ask({ "app.sls": "\na: hunter2\n b: hunter2\n" })).toEqual({
      broken: { kind: "bad-yaml", file: "app.sls", line: 2 },
    });
    expect(await ask({ "app.sls": "a: 1\n\nhunter2: {{hunter2}}\n" })).toEqual({
      broken: { kind: "bad-template", file: "app.sls", line: 3 },
    });
    expect(await ask({ "app.sls": "a: !hunter2 b\n" })).toEqual({
      broken: { kind: "bad-yaml", file: "app.sls", line: 1 },
    });
    expect(await ask({ "top.sls": "base:\n  '*': {hunter2: x}\n" })).toEqual({
      broken: { kind: "bad-top", file: "top.sls", line: 2 },
    });
    expect(await ask({ "top.sls": TOP, "app.sls": "a: 1\n" })).toEqual({ pillar: { a: 1 } });
  } finally {
    await connection.close();
    await one.stop();
    remove();
  }
});
