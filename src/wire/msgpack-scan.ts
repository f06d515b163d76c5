import { ProtocolError } from "../core/errors.ts";

const MAX_DEPTH = 64;

/**
 * Walks the bytes once, without making anything, and throws ProtocolError `bad-msgpack` unless they are exactly one
 * value of the msgpack format without extension types, whose containers hold as many items as they claim. A decoder that
 * trusts the claimed sizes allocates gigabytes for a few bytes; after this walk it cannot. Throws `too-many-items` as
 * soon as more than `maxItems` are claimed, keys of maps among them: each costs its reader far more than its bytes.
 * Returns how many there are.
 */
export function scanMsgpack(bytes: Uint8Array, maxItems: number): number {
  const left: number[] = [1]; // items still to come, a level of nesting each
  let claimed = 1;
  let at = 0;
  while (left.length > 0) {
    const level = left.length - 1;
    const items = left[level] ?? 0;
    if (items === 0) {
      left.pop();
      continue;
    }
    left[level] = items - 1;
    head.read(bytes, at);
    at = head.next;
    if (at > bytes.length || head.items > bytes.length - at) refuse("it ends too early");
    if (head.items > 0) {
      claimed += head.items;
      if (claimed > maxItems) throw tooManyItems(maxItems);
      if (left.length > MAX_DEPTH) refuse("it is nested too deeply");
      left.push(head.items);
    }
  }
  if (at !== bytes.length) refuse("bytes follow the value");
  return claimed;
}

/** What the first bytes of a value say. One object for all of them: making one each takes longer than reading them. */
class Head {
  /** Where the value's own bytes end. */
  next = 0;
  /** How many items follow inside it. */
  items = 0;

  read(bytes: Uint8Array, at: number): void {
    const type = bytes[at];
    if (type === undefined) return refuse("it ends too early");
    if (type <= 0x7f || type >= 0xe0) return this.#leaf(at, 0);
    if (type <= 0x8f) return this.#container(at, 0, (type & 0x0f) * 2);
    if (type <= 0x9f) return this.#container(at, 0, type & 0x0f);
    if (type <= 0xbf) return this.#leaf(at, type & 0x1f);
    switch (type) {
      case 0xc0:
      case 0xc2:
      case 0xc3:
        return this.#leaf(at, 0);
      case 0xc4:
      case 0xd9:
        return this.#leaf(at, 1 + readLength(bytes, at + 1, 1));
      case 0xc5:
      case 0xda:
        return this.#leaf(at, 2 + readLength(bytes, at + 1, 2));
      case 0xc6:
      case 0xdb:
        return this.#leaf(at, 4 + readLength(bytes, at + 1, 4));
      case 0xcc:
      case 0xd0:
        return this.#leaf(at, 1);
      case 0xcd:
      case 0xd1:
        return this.#leaf(at, 2);
      case 0xca:
      case 0xce:
      case 0xd2:
        return this.#leaf(at, 4);
      case 0xcb:
      case 0xcf:
      case 0xd3:
        return this.#leaf(at, 8);
      case 0xdc:
        return this.#container(at, 2, readLength(bytes, at + 1, 2));
      case 0xdd:
        return this.#container(at, 4, readLength(bytes, at + 1, 4));
      case 0xde:
        return this.#container(at, 2, readLength(bytes, at + 1, 2) * 2);
      case 0xdf:
        return this.#container(at, 4, readLength(bytes, at + 1, 4) * 2);
      default:
        return refuse("it has a type that we do not use");
    }
  }

  #leaf(at: number, length: number): void {
    this.next = at + 1 + length;
    this.items = 0;
  }

  #container(at: number, width: number, count: number): void {
    this.next = at + 1 + width;
    this.items = count;
  }
}

const head = new Head();

function readLength(bytes: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i += 1) value = value * 256 + (bytes[at + i] ?? refuse("it ends too early"));
  return value;
}

function refuse(why: string): never {
  throw new ProtocolError("bad-msgpack", `cannot decode message: ${why}`);
}

function tooManyItems(maxItems: number): ProtocolError {
  return new ProtocolError("too-many-items", `cannot decode message: it has more than ${maxItems} items`);
}
