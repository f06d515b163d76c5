import { expect, test } from "vitest";
import { type CryptLine, parseTable } from "../../../../src/states/devices/crypt-table.ts";
import { findTableFaults, type TableRule } from "../../../../src/states/devices/crypt-table-faults.ts";
import { headerOf, luksMetadata, reencryptedMetadata, setAt } from "../../../fakes/luks-metadata.ts";

const MIB = 2048;
const KEY = "0".repeat(128);
const DEVICE = { number: "8:16", bytes: 40 * MIB * 512 };
const RIGHT = `0 ${38 * MIB} crypt aes-xts-plain64 ${KEY} 0 8:16 4096 1 sector_size:4096`;
const JUST: TableRule = { discards: false, since: "just-opened" };
const BEFORE: TableRule = { discards: false, since: "open-before" };

const headerWith = (place: string, value: unknown) => {
  const metadata = luksMetadata();
  setAt(metadata, place, value);
  return headerOf(metadata);
};

function linesOf(text: string): readonly CryptLine[] {
  const lines = parseTable(text) ?? [];
  return lines.flatMap((part) => (part.kind === "crypt" ? [part.line] : []));
}
const faults = (text: string, rule = JUST, header = headerOf()) =>
  findTableFaults(linesOf(text), header, DEVICE, rule).join("; ");

test("a mapping as its header says has no fault, with its key in the table or in the keyring", () => {
  expect(faults(RIGHT)).toBe("");
  expect(faults(RIGHT.replace(KEY, ":64:logon:cryptsetup:d0-0"))).toBe("");
  for (const option of ["no_read_workqueue", "no_write_workqueue", "same_cpu_crypt", "submit_from_crypt_cpus"]) {
    expect(faults(RIGHT.replace("1 sector_size", `2 ${option} sector_size`))).toBe("");
  }
});

test.each<[what: string, from: string, to: string, said: string]>([
  ["another cipher", "aes-xts-plain64", "serpent-xts-plain64", "cipher"],
  ["no cipher", "aes-xts-plain64", "cipher_null-ecb", "cipher"],
  ["a shorter key", KEY, "0".repeat(64), 'key size is "32"'],
  ["no key", KEY, "-", "key size"],
  ["a shorter key in the keyring", KEY, ":32:logon:x", "key size"],
  ["another device", "8:16", "8:32", "device"],
  ["another offset", " 4096 1", " 4104 1", "offset"],
  ["another IV", " 0 8:16", " 8 8:16", "IV offset"],
  ["another size of sectors", "1 sector_size:4096", "1 sector_size:512", "sector size"],
  ["the size of sectors left out", " 1 sector_size:4096", "", "sector size"],
  ["IVs of large sectors", "1 sector_size", "2 iv_large_sectors sector_size", "iv_large_sectors"],
  ["integrity that is not in the header", "1 sector_size", "2 integrity:32:aead sector_size", "integrity"],
  ["an option that nobody knows", "1 sector_size", "2 something sector_size", '"something"'],
  ["a smaller mapping", `0 ${38 * MIB} `, `0 ${37 * MIB} `, "size"],
  ["a mapping beyond its device", `0 ${38 * MIB} `, `0 ${39 * MIB} `, "size"],
  ["discards that nobody asked for", "1 sector_size", "2 allow_discards sector_size", "discards"],
  ["a part more", RIGHT, `${RIGHT}\n${RIGHT}`, "2 parts"],
])("%s is named", (_what, from, to, said) => {
  expect(faults(RIGHT.replace(from, to))).toContain(said);
});

test("discards are as the state or the header asks; of a mapping that was open before they are left alone", () => {
  const table = RIGHT.replace("1 sector_size", "2 allow_discards sector_size");
  expect(faults(table, { ...JUST, discards: true })).toBe("");
  expect(faults(table, JUST, headerWith("config.flags", ["allow-discards"]))).toBe("");
  expect(faults(table, BEFORE)).toBe("");
});

test("below a mapping that was open before, the device may have grown; never shrunk", () => {
  const smaller = RIGHT.replace(`0 ${38 * MIB} `, `0 ${37 * MIB} `);
  expect(faults(smaller, BEFORE)).toBe("");
  expect(faults(smaller, BEFORE, headerWith("segments.0.size", String(38 * MIB * 512)))).toContain("size");
  expect(faults(RIGHT.replace(`0 ${38 * MIB} `, `0 ${39 * MIB} `), BEFORE)).toContain("size");
});

test("with integrity the kernel's one name of cipher and proof is compared, and that there is a tag", () => {
  const header = headerWith("segments.0.integrity", { type: "hmac(sha256)" });
  setAt(header.metadata, "segments.0.encryption", "aes-xts-random");
  const right = `0 100 crypt capi:authenc(hmac(sha256),xts(aes))-random ${KEY} 0 253:1 0 2 integrity:48:aead sector_size:4096`;
  expect(faults(right, JUST, header)).toBe("");
  expect(faults(right.replace("hmac(sha256)", "hmac(sha512)"), JUST, header)).toContain("cipher");
  expect(faults(right.replace("2 integrity:48:aead", "1"), JUST, header)).toContain("integrity");
  expect(faults(right.replace("48:aead", "0:none"), JUST, header)).toContain("integrity");
});

test("while a volume is re-encrypted there are parts and pieces, each with the cipher, key and sectors of the header", () => {
  const header = headerOf(reencryptedMetadata());
  const part = `0 100 crypt aes-xts-plain64 ${KEY} 0 253:3 0 1 sector_size:4096`;
  expect(faults(`${part}\n${RIGHT}`, BEFORE, header)).toBe("");
  expect(faults(`${part.replace("aes", "twofish")}\n${RIGHT}`, BEFORE, header)).toContain("cipher");
  expect(faults(`${part.replace(KEY, "-")}\n${RIGHT}`, BEFORE, header)).toContain("key size");
});

test.each([
  "",
  "0 100 crypt aes-xts-plain64",
  RIGHT.replace(" 1 sector_size", " 2 sector_size"),
  RIGHT.replace("8:16", "/dev/sda"),
  RIGHT.replace(" 4096 1", " -4096 1"),
  RIGHT.replace(KEY, "zz"),
  RIGHT.replace("0 77824 ", "0 1e5 "),
  `${RIGHT}\n0 1`,
  "0 100 linear sda 0",
])("%j does not read as a table", (text) => {
  expect(parseTable(text)).toBeUndefined();
});

test("parts that are no crypt ones are told by what they are", () => {
  expect(parseTable("0 8 linear 8:16 0\n8 8 error \n16 8 zero")).toEqual([
    { kind: "linear", line: { length: 8, device: "8:16" } },
    { kind: "other", target: "error" },
    { kind: "other", target: "zero" },
  ]);
});
