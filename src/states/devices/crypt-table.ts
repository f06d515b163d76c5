import { readLuksNumber } from "../../core/luks-number.ts";

/** One line of a crypt mapping as the kernel has it (dm-crypt, kernel documentation). Units of 512 bytes. */
export interface CryptLine {
  readonly length: number;
  readonly cipher: string;
  /** 0 for one without a key. */
  readonly keyBytes: number;
  readonly ivOffset: number;
  /** `major:minor`. */
  readonly device: string;
  readonly offset: number;
  /** As they stand there, such as `allow_discards` and `sector_size:4096`. */
  readonly options: readonly string[];
}

/** A part of a mapping that hands its sectors to another device as they are. */
export interface LinearLine {
  readonly length: number;
  /** `major:minor`. */
  readonly device: string;
}

/** A line of `dmsetup table`; `other` by the name of its target, such as `error` and `zero`. */
export type TableLine =
  | { readonly kind: "crypt"; readonly line: CryptLine }
  | { readonly kind: "linear"; readonly line: LinearLine }
  | { readonly kind: "other"; readonly target: string };

const DEVICE = /^\d{1,10}:\d{1,10}$/u;

/** dmsetup(8) leaves a key out by writing zeros in its place; of one in the keyring it shows `:<bytes>:<type>:<name>`. */
function keyBytesOf(key: string): number | undefined {
  // none is "-", of which dmsetup makes "0"
  if (key === "-" || key === "0") return 0;
  const inKeyring = /^:(\d{1,4}):/u.exec(key)?.[1];
  if (inKeyring !== undefined) return readLuksNumber(inKeyring);
  return /^(?:[0-9a-f]{2})+$/iu.test(key) ? key.length / 2 : undefined;
}

/** `<cipher> <key> <iv_offset> <device> <offset> [<number of options> <option>…]` */
function parseCrypt(length: number, words: readonly string[]): CryptLine | undefined {
  const [cipher = "", key = "", iv = "", device = "", at = "", count = "0", ...options] = words;
  const [keyBytes, ivOffset, offset] = [keyBytesOf(key), readLuksNumber(iv), readLuksNumber(at)];
  if (keyBytes === undefined || ivOffset === undefined || offset === undefined || !DEVICE.test(device))
    return undefined;
  if (readLuksNumber(count) !== options.length) return undefined;
  return { length, cipher, keyBytes, ivOffset, device, offset, options };
}

function parseLine(text: string): TableLine | undefined {
  const [, size = "", target = "", ...words] = text.trim().split(" ");
  const length = readLuksNumber(size);
  if (length === undefined || target === "") return undefined;
  if (target === "crypt") {
    const line = parseCrypt(length, words);
    return line && { kind: "crypt", line };
  }
  const [device = ""] = words;
  if (target === "linear") return DEVICE.test(device) ? { kind: "linear", line: { length, device } } : undefined;
  return { kind: "other", target };
}

/**
 * The lines of `dmsetup table`, which leaves keys out: `<start> <length> <target> …`; undefined when one of them does not read, and
 * for a device without a table.
 */
export function parseTable(text: string): readonly TableLine[] | undefined {
  const read = text
    .split("\n")
    .filter((line) => line !== "")
    .map(parseLine);
  const lines = read.filter((line) => line !== undefined);
  return lines.length > 0 && lines.length === read.length ? lines : undefined;
}

/** The value of an option such as `sector_size:4096`; "" for one that stands alone, undefined when it is not there. */
export function optionOf({ options }: CryptLine, name: string): string | undefined {
  const found = options.find((one) => one === name || one.startsWith(`${name}:`));
  return found?.slice(name.length + 1);
}
