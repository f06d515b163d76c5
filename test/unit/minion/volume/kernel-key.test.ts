import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Secret } from "../../../../src/core/secret.ts";
import { readTableKey } from "../../../../src/minion/volume/kernel-key.ts";

const read = (text: string) => readTableKey(Secret.take(Buffer.from(text)));

test("the key in dm-crypt's table, whatever its bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 64 }), (bytes) => {
      const hex = Buffer.from(bytes).toString("hex");
      const found = read(`0 65536 crypt aes-xts-plain64 ${hex} 0 7:0 4096 1 allow_discards\n`);
      expect(found.kind === "key" ? found.key.expose() : Buffer.alloc(bytes.length)).toEqual(Buffer.from(bytes));
    }),
  );
});

test.each([
  ["a key in the keyring", "0 65536 crypt aes-xts-plain64 :64:logon:cryptsetup:uuid-d0 0 7:0 4096\n", "keyring"],
  ["a key that was wiped", `0 65536 crypt aes-xts-plain64 ${"0".repeat(128)} 0 7:0 4096\n`, "none"],
  ["a linear table", "0 65536 linear 7:0 4096\n", "none"],
  ["half a byte", "0 65536 crypt aes-xts-plain64 abc 0 7:0 4096\n", "none"],
  ["no hexadecimal digits", "0 65536 crypt aes-xts-plain64 zz 0 7:0 4096\n", "none"],
  ["no key", "0 65536 crypt aes-xts-plain64", "none"],
  ["nothing", "", "none"],
])("%s", (_, table, kind) => {
  expect(read(table)).toEqual({ kind });
});

test("random bytes crash nothing", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(["key", "keyring", "none"]).toContain(readTableKey(Secret.take(Buffer.from(bytes))).kind);
    }),
  );
});
