import { findTableFaults } from "../../../src/states/devices/crypt-table-faults.ts";
import { type CryptLine, optionOf, parseTable } from "../../../src/states/devices/crypt-table.ts";
import { headerOf, luksMetadata, reencryptedMetadata } from "../../fakes/luks-metadata.ts";
import { promise, promisePlain, type Target } from "../target.ts";

const DEVICE = { number: "8:16", bytes: 40 * 1024 * 1024 };
const KEY = "0".repeat(128);
const RIGHT = `0 77824 crypt aes-xts-plain64 ${KEY} 0 8:16 4096 1 sector_size:4096\n`;
const PLAIN = headerOf(luksMetadata());
const SPLIT = headerOf(reencryptedMetadata());

function check(lines: readonly CryptLine[]): void {
  for (const { length, offset, keyBytes, ivOffset, device } of lines) {
    promise(
      "numbers are whole and safe",
      [length, offset, keyBytes, ivOffset].every((one) => Number.isSafeInteger(one) && one >= 0),
    );
    promise("a device is a number", /^\d+:\d+$/u.test(device));
  }
  for (const header of [PLAIN, SPLIT]) {
    for (const since of ["just-opened", "open-before"] as const) {
      const faults = findTableFaults(lines, header, DEVICE, { discards: false, since });
      promisePlain(faults);
      if (faults.length > 0) continue;
      promise(
        "no fault, so every part has the header's cipher",
        lines.every(({ cipher }) => /^aes-xts-plain(?:64)?$/u.test(cipher)),
      );
      promise(
        "and a key",
        lines.every(({ keyBytes }) => keyBytes === 64),
      );
      promise(
        "and its sectors",
        lines.every((line) => optionOf(line, "sector_size") === "4096"),
      );
      if (header === PLAIN)
        promise(
          "and its place",
          lines.every(({ device, offset }) => device === DEVICE.number && offset === 4096),
        );
    }
  }
}

export const target: Target = {
  covers: ["src/states/devices/crypt-table.ts", "src/states/devices/crypt-table-faults.ts"],
  refusals: [],
  dictionary: [
    "crypt",
    "linear",
    "error",
    "zero",
    "cipher_null-ecb",
    ":64:logon:x",
    "allow_discards",
    "iv_large_sectors",
    "integrity:28:aead",
    "sector_size:512",
    "no_read_workqueue",
    "8:16",
    " - ",
    "-1",
    "1e3",
  ],
  seeds: () => [
    RIGHT,
    RIGHT + RIGHT,
    RIGHT.replace(KEY, ":64:logon:cryptsetup:x"),
    RIGHT.replace("1 sector_size", "2 allow_discards sector_size"),
    "0 8 linear 8:16 0\n8 8 error \n",
    `0 100 crypt capi:authenc(hmac(sha256),xts(aes))-random ${KEY} 0 253:1 0 1 integrity:48:aead\n`,
    "",
  ],
  decode: (bytes) => {
    const table = parseTable(bytes.toString("utf8"));
    if (table === undefined) return;
    check(table.flatMap((part) => (part.kind === "crypt" ? [part.line] : [])));
  },
};
