import { expect, test } from "vitest";
import { countFreeKeyslots, readKeyslots } from "../../../../src/minion/volume/keyslots.ts";
import type { LuksHeader } from "../../../../src/states/devices/luks-header.ts";
import { luksHeaderBytes, luksSegment } from "../../../../src/states/devices/luks-slots.ts";
import { dataSegment } from "../../../../src/states/devices/luks-fit.ts";
import { luksMetadata, setAt } from "../../../fakes/luks-metadata.ts";

const NO_NUMBERS = ["-11", "1e3", "0x10", " 7", "", "18446744073709551615", 4096, null];

function headerWith(place: string, value: unknown): LuksHeader {
  const metadata = luksMetadata();
  setAt(metadata, place, value);
  return { version: 2, uuid: "u", label: "", sequence: 1, metadata, atStart: true };
}

test.each(NO_NUMBERS)("a header with %j for a number says nothing there, and never less than nothing", (value) => {
  const offset = headerWith("segments.0.offset", value);
  expect([luksSegment(offset).offset, dataSegment(offset)]).toEqual([0, undefined]);
  for (const place of ["config.json_size", "config.keyslots_size"]) {
    const header = headerWith(place, value);
    expect([luksHeaderBytes(header), countFreeKeyslots(header)]).toEqual([0, 0]);
  }
  expect(countFreeKeyslots(headerWith("keyslots.0.area.offset", value))).toBe(0);
});

test("room for keyslots is counted, and keyslots of names that are no numbers are none", () => {
  const header = headerWith("keyslots.1e0", { type: "luks2" });
  expect([readKeyslots(header).map(({ slot }) => slot), luksSegment(header).offset > 0]).toEqual([[0], true]);
  expect(dataSegment(header)).toEqual({ offset: luksSegment(header).offset, sector: 4096 });
});
