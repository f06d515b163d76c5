import { createCipheriv, createHash, createHmac } from "node:crypto";
import { ageHkdf, decryptAge } from "../../../src/core/age-decrypt.ts";
import { parseAgeBytes, parseAgeText } from "../../../src/core/age-file.ts";
import { parseAgeIdentityFile } from "../../../src/core/age-identity.ts";
import { decryptAgeBytes } from "../../../src/core/age-stream.ts";
import { encodeBech32 } from "../../../src/core/bech32.ts";
import { dhKeyFromSecret } from "../../../src/core/crypto/x25519.ts";
import { ProtocolError } from "../../../src/core/errors.ts";
import { Secret } from "../../../src/core/secret.ts";
import { promise, type Target } from "../target.ts";

const MAX_PLAIN = 4096;
const NONE = Buffer.alloc(0);
const bytesOf = (word: string) => createHash("sha256").update(`fuzz ${word}`).digest();
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64").replace(/=+$/u, "");

// nobody's key: it opens what this file makes, and nothing else
const text = Buffer.from(encodeBech32("age-secret-key-", bytesOf("identity")).toString("latin1").toUpperCase());
const identity = parseAgeIdentityFile(Secret.take(text), "fuzz");
const FILE_KEY = bytesOf("file key").subarray(0, 16);
const macKey = ageHkdf(FILE_KEY, NONE, "header");

function seal(key: Buffer, nonce: Buffer, plain: Uint8Array): Buffer {
  const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 });
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** A sound file with one stanza for the identity, and those given before it. */
function fileOf(plain: string, stanzas = ""): Buffer {
  const ephemeral = dhKeyFromSecret(bytesOf("ephemeral"));
  const { publicKey } = identity.key;
  const salt = Buffer.concat([ephemeral.publicKey, publicKey]);
  const wrap = ageHkdf(ephemeral.agree(publicKey), salt, "age-encryption.org/v1/X25519");
  const share = base64(ephemeral.publicKey);
  const body = base64(seal(wrap, Buffer.alloc(12), FILE_KEY));
  const nonce = bytesOf("nonce").subarray(0, 16);
  const last = Buffer.concat([Buffer.alloc(11), Buffer.of(1)]);
  const payload = seal(ageHkdf(FILE_KEY, nonce, "payload"), last, Buffer.from(plain));
  const header = `age-encryption.org/v1\n${stanzas}-> X25519 ${share}\n${body}\n---`;
  const mac = createHmac("sha256", macKey).update(header).digest();
  return Buffer.concat([Buffer.from(`${header} ${base64(mac)}\n`), nonce, payload]);
}

function armored(file: Buffer): string {
  const lines = file.toString("base64").match(/.{1,64}/gu) ?? [];
  return ["-----BEGIN AGE ENCRYPTED FILE-----", ...lines, "-----END AGE ENCRYPTED FILE-----", ""].join("\n");
}

/** The same file with the MAC that its header should have, where it has one: only who has the file key could make it. */
function withMac(file: Buffer): Buffer {
  const end = file.indexOf("\n---");
  const stop = end < 0 ? -1 : file.indexOf("\n", end + 1);
  if (stop < 0) return file;
  const mac = createHmac("sha256", macKey)
    .update(file.subarray(0, end + 4))
    .digest();
  return Buffer.concat([file.subarray(0, end + 4), Buffer.from(` ${base64(mac)}`), file.subarray(stop)]);
}

const FORM = { binary: 0, armored: 1, text: 2, remade: 3 } as const;
const input = (form: keyof typeof FORM, file: string | Uint8Array) =>
  Buffer.concat([Buffer.of(FORM[form]), Buffer.from(file as Uint8Array)]);

async function open(file: Buffer): Promise<void> {
  const { payload, header } = parseAgeBytes(file, MAX_PLAIN);
  promise("header and payload are the file", header.length + payload.length === file.length);
  const plain = await decryptAgeBytes(file, identity, MAX_PLAIN);
  promise("no more comes out than went in", plain.length <= file.length);
}

function openText(armor: string): void {
  parseAgeText(armor);
  using secret = decryptAge(armor, identity);
  promise("no more comes out than went in", secret.expose().length <= armor.length);
}

const SCRYPT = `-> scrypt ${base64(Buffer.alloc(16))} 18\n${base64(Buffer.alloc(32))}\n`;
const OTHER = `-> grease a b\n${"A".repeat(64)}\n\n`;

export const target: Target = {
  covers: ["src/core/age-file.ts", "src/core/age-decrypt.ts", "src/core/age-stream.ts"],
  refusals: [ProtocolError],
  dictionary: [
    "-> X25519 ",
    "-> scrypt ",
    "-> grease",
    "\n---",
    "\n--- ",
    "\r\n",
    "age-encryption.org/v1\n",
    "=",
    "A".repeat(64),
  ],
  seeds: () => [
    input("binary", fileOf("secret")),
    input("binary", fileOf("", OTHER)),
    input("binary", fileOf("x", SCRYPT)),
    input("remade", fileOf("secret", OTHER)),
    input("armored", fileOf("secret")),
    input("text", armored(fileOf("secret"))),
    input("text", armored(fileOf("secret", OTHER)).replaceAll("\n", "\r\n")),
  ],
  decode: async (bytes) => {
    const rest = bytes.subarray(1);
    const form = (bytes[0] ?? 0) % 4;
    if (form === FORM.binary) await open(rest);
    else if (form === FORM.remade) await open(withMac(rest));
    else openText(form === FORM.armored ? armored(withMac(rest)) : rest.toString("latin1"));
  },
};
