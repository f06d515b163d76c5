import { isJsonObject, type JsonObject } from "../../../src/core/json.ts";
import { compareLayouts, describeDifferences } from "../../../src/core/luks-layout-compare.ts";
import { asOldLayout } from "../../../src/core/luks-layout-old.ts";
import { describeFaults, findLayoutFaults } from "../../../src/core/luks-layout-rules.ts";
import { formatLayout, layoutFacts, layoutOf, type LuksLayout, parseLayout } from "../../../src/core/luks-layout.ts";
import { luksMetadata, reencryptedMetadata } from "../../fakes/luks-metadata.ts";
import { promise, promisePlain, type Target } from "../target.ts";

/** An input is a byte of choices and a text: a header's JSON area, or the text of a layout. */
const inputOf = (choices: number, text: string) => Buffer.concat([Buffer.of(choices), Buffer.from(text)]);
const of = (metadata: JsonObject): LuksLayout => layoutOf({ version: 2, uuid: "u", metadata });
const KNOWN = of(luksMetadata());
/** What must not pass without a fault. */
const UNSAFE = /^segments\.\d+\.type "(?!crypt")|^segments\.\d+\.encryption "(?:cipher_null|null)|^other\./mu;

function readJson(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function checkHeader(metadata: JsonObject): void {
  const layout = of(metadata);
  const text = formatLayout(layout);
  const faults = findLayoutFaults(layout);
  promise("what is written reads back", formatLayout(parseLayout(text) ?? new Map()) === text);
  promise("a header is no different from itself", compareLayouts(layout, layout, { reencrypting: false }).length === 0);
  promise(
    "nor from how an older version kept it",
    compareLayouts(asOldLayout(layout), layout, { reencrypting: false }).length === 0,
  );
  promise("what does not encrypt, or is not known, is a fault", faults.length > 0 || !UNSAFE.test(text));
  promise("faults are named", faults.length === 0 || describeFaults(faults) !== "");
  for (const reencrypting of [false, true]) {
    const found = compareLayouts(KNOWN, layout, { reencrypting });
    promise("differences are named", found.length === 0 || describeDifferences(found) !== "");
    const isSame = layoutFacts(text).cipher === "aes-xts-plain64";
    promise("no other cipher passes for the one on record", found.length > 0 || faults.length > 0 || isSame);
  }
}

export const target: Target = {
  covers: [
    "src/core/luks-layout.ts",
    "src/core/luks-layout-rules.ts",
    "src/core/luks-layout-fields.ts",
    "src/core/luks-layout-compare.ts",
    "src/core/luks-layout-old.ts",
    "src/core/luks-number.ts",
  ],
  refusals: [],
  dictionary: [
    '"cipher_null-ecb"',
    '"linear"',
    "segments.0.",
    "keyslots.0.",
    "%0;",
    "~",
    "{}",
    "[]",
    '["0"]',
    "null",
    "1e999",
    "-0",
    '"__proto__"',
    'version "2"',
    "\\ud800",
  ],
  seeds: () => [
    inputOf(0, JSON.stringify(luksMetadata())),
    inputOf(0, JSON.stringify(reencryptedMetadata())),
    inputOf(0, '{"segments":{"0":{"type":"crypt","":{"\\u0000":[1,"1"]}}},"x":{"a.b":{}}}'),
    inputOf(1, formatLayout(KNOWN)),
    inputOf(1, formatLayout(asOldLayout(KNOWN))),
    "",
  ],
  decode: (bytes) => {
    const text = bytes.toString("utf8", 1);
    if (((bytes[0] ?? 0) & 1) === 0) {
      const metadata = readJson(text);
      if (metadata) checkHeader(metadata);
      return;
    }
    const layout = parseLayout(text);
    if (layout === undefined) return;
    promise("a layout has one text", formatLayout(layout) === text);
    promisePlain(findLayoutFaults(layout));
    const facts = layoutFacts(text);
    promise(
      "sizes are numbers",
      [facts.sectorSize, facts.offset].every((one) => Number.isSafeInteger(one) && one >= 0),
    );
    compareLayouts(layout, KNOWN, { reencrypting: true });
    compareLayouts(KNOWN, layout, { reencrypting: true });
  },
};
