import { afterAll, expect, test } from "vitest";
import { Machine } from "./support/machine.ts";
import { StateRun } from "./support/state-run.ts";

const machine = new Machine();
const run = new StateRun(machine.host, machine.directory);
afterAll(() => machine.dispose());

test("file.directory: first run, second run, owner and mode put right", async () => {
  const name = `${machine.directory}/a/b`;
  await expect(run.test("file.directory", { name })).rejects.toMatchObject({ code: "no-parent" });
  const wanted = { name, makedirs: true, user: "nobody", group: "65534", mode: 750 };
  expect(await run.apply("file.directory", wanted)).toEqual([{ field: "directory", from: null, to: "new" }]);
  expect(await run.apply("file.directory", wanted)).toEqual([]);
  expect(await machine.host.stat(name)).toMatchObject({ kind: "directory", uid: 65534, gid: 65534, mode: 0o750 });
  expect(await run.apply("file.directory", { ...wanted, user: "root", mode: "0700" })).toEqual([
    { field: "user", from: 65534, to: 0 },
    { field: "mode", from: "0750", to: "0700" },
  ]);
});

test("file.managed: first run, second run, a diff, and no content when changes are not shown", async () => {
  const name = `${machine.directory}/conf`;
  const wanted = { name, contents: "one\ntwo\n", mode: "0600" };
  expect(await run.apply("file.managed", wanted)).toEqual([{ field: "diff", from: null, to: "New file" }]);
  expect(await run.apply("file.managed", wanted)).toEqual([]);
  const [change] = await run.apply("file.managed", { ...wanted, contents: ["one", "three"] });
  expect(change?.to).toContain("-two\n+three\n");
  const hidden = await run.apply("file.managed", { ...wanted, contents: "hidden words", show_changes: false });
  expect(JSON.stringify(hidden)).not.toMatch(/hidden words|three/u);
  expect((await machine.host.readFile(name))?.toString("utf8")).toBe("hidden words\n");
  expect(await run.apply("file.managed", { ...wanted, replace: false })).toEqual([]);
  expect(await machine.host.stat(name)).toMatchObject({ mode: 0o600 });
});
