import { expect, test } from "vitest";
import { boundedReport, type VolumeReport, volumeReportSchema } from "../../../src/core/volume-report.ts";

const report: VolumeReport = {
  volume: "data",
  at: 1,
  state: "up",
  keyPath: "disk:password",
  device: "/dev/vg0/data",
  luksUuid: "0f6e",
  headerDigest: "ab",
  slots: [{ slot: 0, kdf: "argon2id", priority: "normal", version: 1 }],
  proven: { version: 1, at: 1 },
  disk: { serial: "S", bytes: 1, pvUuids: ["u"] },
  problems: [{ code: "wrong-disk", text: "it is another", fatal: true }],
};

test("a report within its bounds is left as it is", () => {
  expect(boundedReport(report)).toEqual(report);
});

test("whatever a disk, a header or a program said, the report is one that the master takes", () => {
  const long = "x".repeat(10_000);
  const bounded = boundedReport({
    ...report,
    device: `/${long}`,
    keyPath: long,
    luksUuid: long,
    headerDigest: long,
    slots: [{ slot: 900, kdf: long, priority: "normal", version: 0 }, ...report.slots],
    disk: { serial: long, bytes: 1, pvUuids: Array<string>(1000).fill(long) },
    problems: Array.from({ length: 100 }, () => ({ code: long, text: long, fatal: true })),
  });
  expect(volumeReportSchema.safeParse(bounded).error).toBeUndefined();
  expect(bounded).toMatchObject({ volume: "data", state: "up", slots: report.slots });
  expect(bounded.problems).toHaveLength(20);
});
