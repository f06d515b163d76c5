import { expect, test } from "vitest";
import { reportText } from "../../../src/cli/leakcheck.ts";

const place = (
  name: string,
  hits: readonly { where: string; form: string; offset: number }[],
  skipped: string[] = [],
  of = 3 << 20,
) => ({
  place: name,
  items: 2,
  bytes: 3 << 20,
  of,
  hits: [...hits],
  skipped,
});
const channel = { pipe: "cryptsetup", keyFile: "/run/latchkey/keys" };
const plain = (_colour: string, text: string) => text;

test("a clean host: how much of each place was searched, and what was not", () => {
  const report = {
    clean: true,
    channel,
    tookMs: 1200,
    places: [place("memory", []), place("temp", [], [], 5 * 2 ** 30), place("swap", [], ["no swap"])],
  };
  expect(reportText("web1", report, plain)).toBe(
    `web1: no trace of the canary
by pipe to cryptsetup, key file in /run/latchkey/keys, 1200 ms
PLACE   SEARCHED  BYTES               HITS
memory  2         3.0 MiB             none
temp    2         3.0 MiB of 5.0 GiB  none
swap    2         3.0 MiB             none
swap, not searched: no swap
`,
  );
});

test("lesson: 2025-22239 data from a minion is made safe before it is printed, a leak names place and form", () => {
  const hit = { where: "/tmp/\u001b[2Jx", form: "hex", offset: 7 };
  const text = reportText("web1", { clean: false, channel, tookMs: 1, places: [place("temp", [hit])] }, plain);
  expect(text).toContain("web1: THE CANARY LEAKED");
  expect(text).toContain("temp: hex in /tmp/");
  expect(text).not.toContain("\u001b");
});
