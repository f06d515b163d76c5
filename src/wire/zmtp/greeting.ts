import { encodeCommand } from "./frame-bytes.ts";

/** Bytes of a greeting of ZMTP 3 (ZeroMQ RFC 23 and 37): signature 10, version 2, mechanism 20, as-server 1, filler 31. */
export const GREETING_BYTES = 64;

/** After so much of a greeting its sender waits for ours. */
export const SIGNATURE_BYTES = 10;

const SIGNATURE_FIRST = 0xff;
const SIGNATURE_LAST = 0x7f;
const VERSION_AT = 10;
const MAJOR = 3;
const MINOR = 1;
const MECHANISM_AT = 12;
const MECHANISM_BYTES = 20;
const NULL_MECHANISM = Buffer.concat([Buffer.from("NULL"), Buffer.alloc(MECHANISM_BYTES - 4)]);

const READY = "READY";
const SOCKET_TYPE = "Socket-Type";
const OURS = "ROUTER";
const THEIRS = "DEALER";

/** What the listener says of itself: its greeting and, as the NULL mechanism asks nothing, READY behind it. */
export const WELCOME: Buffer = Buffer.concat([greeting(), encodeCommand(READY, property(SOCKET_TYPE, OURS))]);

/** Whether these first bytes can still become the greeting of a peer that speaks ZMTP 3 without a mechanism of its own. */
export function isGreeting(bytes: Buffer): boolean {
  if (bytes.length > 0 && bytes[0] !== SIGNATURE_FIRST) return false;
  if (bytes.length >= SIGNATURE_BYTES && bytes[SIGNATURE_BYTES - 1] !== SIGNATURE_LAST) return false;
  if (bytes.length > VERSION_AT && (bytes[VERSION_AT] ?? 0) < MAJOR) return false;
  const mechanism = bytes.subarray(MECHANISM_AT, MECHANISM_AT + MECHANISM_BYTES);
  return mechanism.equals(NULL_MECHANISM.subarray(0, mechanism.length));
}

/** Whether this command is READY of a DEALER. Its other properties, an identity among them, decide nothing here. */
export function isDealerReady(command: Buffer): boolean {
  const name = Buffer.from(`\u0005${READY}`, "latin1");
  if (!command.subarray(0, name.length).equals(name)) return false;
  let type: string | undefined;
  for (let at = name.length; at < command.length;) {
    const nameEnd = at + 1 + (command[at] ?? 0);
    if (nameEnd + 4 > command.length) return false;
    const valueEnd = nameEnd + 4 + command.readUInt32BE(nameEnd);
    if (valueEnd > command.length) return false;
    const property = command.toString("latin1", at + 1, nameEnd);
    if (property.toLowerCase() === SOCKET_TYPE.toLowerCase()) type = command.toString("latin1", nameEnd + 4, valueEnd);
    at = valueEnd;
  }
  return type === THEIRS;
}

function greeting(): Buffer {
  const bytes = Buffer.alloc(GREETING_BYTES);
  bytes[0] = SIGNATURE_FIRST;
  // the place of ZMTP 1's length, which libzmq fills like this
  bytes[SIGNATURE_BYTES - 2] = 1;
  bytes[SIGNATURE_BYTES - 1] = SIGNATURE_LAST;
  bytes[VERSION_AT] = MAJOR;
  bytes[VERSION_AT + 1] = MINOR;
  NULL_MECHANISM.copy(bytes, MECHANISM_AT);
  return bytes;
}

function property(name: string, value: string): Buffer {
  const bytes = Buffer.alloc(1 + name.length + 4 + value.length);
  bytes[0] = name.length;
  bytes.write(name, 1, "latin1");
  bytes.writeUInt32BE(value.length, 1 + name.length);
  bytes.write(value, 1 + name.length + 4, "latin1");
  return bytes;
}
