import { expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";
import { createLink } from "../../../src/minion/link.ts";
import { fetchPillar } from "../../../src/minion/pillar.ts";
import { FakeConnection } from "../../fakes/fake-connection.ts";

const patience = { waitMs: 60_000, signal: new AbortController().signal };

test.each([
  [{ kind: "bad-yaml", file: "app.sls", line: 2 }, "cannot use this minion's pillar: bad yaml (app.sls line 2)"],
  [{ kind: "missing-pillar-sls", file: "app.sls" }, "cannot use this minion's pillar: missing pillar sls (app.sls)"],
  [{ kind: "bad-pillar-file" }, "cannot use this minion's pillar: bad pillar file"],
])("a broken pillar is final, and says where: %j", async (broken, message) => {
  const connection = new FakeConnection({ pillar: () => ({ broken }) });
  const link = createLink(connection, systemClock, () => 0);
  await expect(fetchPillar(link, patience)).rejects.toMatchObject({ code: "pillar-broken", message, facts: broken });
  expect(connection.asked).toHaveLength(1);
});
