/** One way in which key material could lie somewhere. */
export interface Needle {
  /** Such as "hex" or "base64+1": never the bytes. */
  readonly form: string;
  readonly bytes: Buffer;
}

/** A way of writing a key down, byte by byte: nothing of it lies in memory until somebody keeps it. */
export interface NeedleForm {
  readonly form: string;
  readonly length: number;
  readonly byteAt: (index: number) => number;
}

const LEAST_BYTES = 12;
const ASCII = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));
const HEX = ASCII("0123456789abcdef");
const CAPITAL_HEX = ASCII("0123456789ABCDEF");
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const ALPHABETS = { base64: ASCII(`${LETTERS}+/`), base64url: ASCII(`${LETTERS}-_`) } as const;

/**
 * Every way in which a key could be written down: as it is, in hexadecimal (both cases), as UTF-16, in base64 at each of
 * its three alignments (also the URL alphabet), without what the neighbouring bytes decide. They read `key` when they are
 * asked. Throws RangeError on a key too short to search for.
 */
export function needleForms(key: Uint8Array): readonly NeedleForm[] {
  const { length } = key;
  if (length < LEAST_BYTES) throw new RangeError(`a key of ${length} bytes would be found by chance`);
  const at = (index: number) => key[index] ?? 0;
  const hex = (digits: Uint8Array) => (index: number) =>
    digits[index % 2 === 0 ? at(index >> 1) >> 4 : at(index >> 1) & 15] ?? 0;
  const forms: NeedleForm[] = [
    { form: "raw", length, byteAt: at },
    { form: "hex", length: 2 * length, byteAt: hex(HEX) },
    { form: "HEX", length: 2 * length, byteAt: hex(CAPITAL_HEX) },
    { form: "utf16", length: 2 * length, byteAt: (index) => (index % 2 === 0 ? at(index >> 1) : 0) },
  ];
  for (const shift of [0, 1, 2]) {
    // the first characters also carry bits of what stands before the key, the last one of what follows it
    const first = Math.ceil((shift * 8) / 6);
    const count = Math.floor(((shift + length) * 8) / 6) - first;
    for (const [name, letters] of Object.entries(ALPHABETS)) {
      const byteAt = (index: number) => {
        const bit = (first + index) * 6 - shift * 8;
        const pair = (at(bit >> 3) << 8) | at((bit >> 3) + 1);
        return letters[(pair >> (10 - (bit & 7))) & 63] ?? 0;
      };
      forms.push({ form: `${name}+${shift}`, length: count, byteAt });
    }
  }
  return forms;
}

/** The forms of a key as bytes, for whoever may have them in memory. Throws RangeError as `needleForms` does. */
export function needlesOf(key: Uint8Array): readonly Needle[] {
  return needleForms(key).map(({ form, length, byteAt }) => ({
    form,
    bytes: Buffer.from(Uint8Array.from({ length }, (_, index) => byteAt(index))),
  }));
}
