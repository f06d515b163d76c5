import { MAX_SECRET_BYTES } from "./age.ts";
import { ProtocolError } from "./errors.ts";

const ARMOR =
  /^\s*-----BEGIN AGE ENCRYPTED FILE-----\r?\n([A-Za-z0-9+/=\r\n]+?)\r?\n-----END AGE ENCRYPTED FILE-----\s*$/u;
const TAG_BYTES = 16;
const NONCE_BYTES = 16;
const SALT_BYTES = 16;

/** How a passphrase wraps the file key. */
export interface ScryptStanza {
  readonly salt: Buffer;
  readonly logN: number;
  readonly body: Buffer;
}

/** An age v1 file, taken apart and not opened. */
export interface AgeFile {
  /** Share and body of every X25519 stanza: one a recipient. Which recipient, the file does not tell. */
  readonly stanzas: readonly { readonly share: Buffer; readonly body: Buffer }[];
  /** Set when a passphrase opens the file; it then has no other stanza. */
  readonly scrypt: ScryptStanza | undefined;
  /** What the header's MAC covers. */
  readonly covered: Buffer;
  readonly mac: Buffer;
  /** All that comes before the payload. */
  readonly header: Buffer;
  /** Nonce, then the encrypted chunks; one only, unless more was allowed. */
  readonly payload: Buffer;
}

/** What is thrown for bytes that are no age file we read. */
export function broken(why: string): ProtocolError {
  return new ProtocolError("bad-age-file", `cannot read age ciphertext: ${why}`);
}

/** The binary file inside armor; lines of 64 characters as age insists on, so that one ciphertext has one text. */
function dearmor(text: string): Buffer {
  const lines = ARMOR.exec(text)?.[1]?.split(/\r?\n/u) ?? [];
  const last = lines.at(-1) ?? "";
  if (last.length === 0 || last.length > 64 || !lines.slice(0, -1).every((line) => line.length === 64)) {
    throw broken("not armored, or damaged armor");
  }
  const file = Buffer.from(lines.join(""), "base64");
  if (file.toString("base64") !== lines.join("")) throw broken("damaged base64");
  return file;
}

function base64(text: string): Buffer {
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64").replace(/=+$/u, "") !== text) throw broken("damaged base64 in the header");
  return bytes;
}

function scryptStanza(args: readonly string[], body: Buffer): ScryptStanza {
  const salt = base64(args[0] ?? "");
  const logN = /^[1-9][0-9]?$/u.test(args[1] ?? "") ? Number(args[1]) : 0;
  if (args.length !== 2 || salt.length !== SALT_BYTES || logN === 0 || body.length !== 32) {
    throw broken("malformed scrypt stanza");
  }
  return { salt, logN, body };
}

/** Takes an armored age file apart; throws ProtocolError `bad-age-file`. */
export function parseAgeText(text: string): AgeFile {
  return parseAgeBytes(dearmor(text));
}

/**
 * Takes a binary age file apart, its header (section "Header" of the age specification) line by line. Throws ProtocolError
 * `bad-age-file`, also for one of more than `maxBytes` (default 64 KiB: a single chunk).
 */
export function parseAgeBytes(file: Buffer, maxBytes = MAX_SECRET_BYTES): AgeFile {
  const end = file.indexOf("\n---");
  const macEnd = end < 0 ? -1 : file.indexOf("\n", end + 1);
  if (macEnd < 0 || file[end + 4] !== 0x20) throw broken("no header");
  const [version, ...lines] = file.toString("latin1", 0, end).split("\n");
  if (version !== "age-encryption.org/v1") throw broken("not age version 1");
  const stanzas: { share: Buffer; body: Buffer }[] = [];
  let scrypt: ScryptStanza | undefined;
  let count = 0;
  let at = 0;
  while (at < lines.length) {
    const [arrow, kind, ...args] = (lines[at] ?? "").split(" ");
    if (arrow !== "->" || !kind) throw broken("malformed stanza");
    const bodyStart = (at += 1);
    // a body ends with its first line that is not full (64 characters)
    while (at < lines.length && lines[at]?.length === 64) at += 1;
    at += 1;
    if (at > lines.length) throw broken("malformed stanza");
    count += 1;
    if (kind !== "X25519" && kind !== "scrypt") continue;
    const body = base64(lines.slice(bodyStart, at).join(""));
    if (kind === "scrypt") {
      scrypt = scryptStanza(args, body);
      continue;
    }
    const share = base64(args[0] ?? "");
    if (args.length !== 1 || share.length !== 32 || body.length !== 32) throw broken("malformed X25519 stanza");
    stanzas.push({ share, body });
  }
  if (scrypt && count > 1) throw broken("a passphrase beside other recipients");
  const length = file.length - (macEnd + 1) - NONCE_BYTES - TAG_BYTES;
  if (length < 0 || length > maxBytes) throw broken(`cut off, or longer than ${maxBytes / 1024} KiB`);
  return {
    stanzas,
    scrypt,
    covered: file.subarray(0, end + 4),
    mac: base64(file.toString("latin1", end + 5, macEnd)),
    header: file.subarray(0, macEnd + 1),
    payload: file.subarray(macEnd + 1),
  };
}
