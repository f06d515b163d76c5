import { expect, test } from "vitest";
import { openJournal } from "../../../src/minion/journal.ts";
import { FakeHost } from "../../fakes/fake-host.ts";

test("what began is pending until it is committed, whatever its key looks like", async () => {
  const host = new FakeHost();
  const key = "luks.formatted /dev/vg0/data ../../x";
  await openJournal(host, "/s/journal").begin(key, { step: 1 });
  const journal = openJournal(host, "/s/journal");
  expect(await journal.pending(key)).toEqual({ step: 1 });
  expect(await journal.pending("another")).toBeUndefined();
  expect(await journal.keys()).toEqual([key]);
  expect((await host.readDirectory("/s/journal"))?.[0]).toMatch(/^[0-9a-f]{64}\.json$/u);
  await journal.commit(key);
  expect(await journal.keys()).toEqual([]);
  expect(await journal.pending(key)).toBeUndefined();
});

test("a damaged note is an error: nobody guesses what was going on", async () => {
  const host = new FakeHost();
  const journal = openJournal(host, "/s/journal");
  await journal.begin("k", 1);
  const [name = ""] = (await host.readDirectory("/s/journal")) ?? [];
  host.file(`/s/journal/${name}`, "{");
  await expect(journal.pending("k")).rejects.toMatchObject({ code: "journal-damaged" });
});
