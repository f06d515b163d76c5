import { expect, test } from "vitest";
import { systemClock } from "../../../../src/core/clock.ts";
import { createLink } from "../../../../src/minion/link.ts";
import { escrowedUuid } from "../../../../src/minion/volume/escrowed-uuid.ts";
import type { Response } from "../../../../src/wire/messages.ts";
import { FakeConnection } from "../../../fakes/fake-connection.ts";

type Header = Response<"header.list">["headers"][number];

const header = (luksUuid: string, more: Partial<Header> = {}): Header => ({
  volume: "data",
  digest: "0".repeat(64),
  bytes: 4096,
  luksUuid,
  reason: "check",
  device: "/dev/vdb",
  deviceBytes: 0,
  disk: { serial: "", bytes: 0, pvUuids: [] },
  slots: [],
  volumeKey: "0".repeat(16),
  version: 1,
  at: 0,
  proven: { version: 1, at: 0 },
  ...more,
});

test.each<[string, readonly Header[]]>([
  ["", []],
  ["", [header("b", { forgotten: true }), header("a", { forgotten: true })]],
  ["a", [header("b", { forgotten: true }), header("a")]],
  ["b", [header("b"), header("a")]],
])("I3: of a volume the master has header %j in escrow, those of a removed one left out", async (expected, headers) => {
  const connection = new FakeConnection({ "header.list": () => ({ headers: [...headers] }) });
  const link = createLink(connection, systemClock, () => 0);
  const patience = { waitMs: 1000, signal: new AbortController().signal };
  expect(await escrowedUuid({ link, identity: connection.identity, bootId: "b" }, "data", patience)).toBe(expected);
});
