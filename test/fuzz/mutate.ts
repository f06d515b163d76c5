import type { Random } from "./random.ts";

/** Numbers at which decoders turn. */
const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff];
const MAX_STEPS = 6;
const MAX_BLOCK = 128;

type Step = (bytes: Buffer, random: Random, context: MutationContext) => Buffer;

/** What a mutation may take from. */
export interface MutationContext {
  readonly maxBytes: number;
  readonly dictionary: readonly Buffer[];
  /** Another input of the corpus. */
  readonly other: () => Buffer;
}

const place = (bytes: Buffer, random: Random) => random.below(bytes.length + 1);
const block = (bytes: Buffer, random: Random): readonly [number, number] => {
  const at = random.below(bytes.length);
  return [at, at + 1 + random.below(Math.min(MAX_BLOCK, bytes.length - at))];
};
const insert = (bytes: Buffer, at: number, piece: Uint8Array) =>
  Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);

function overwrite(bytes: Buffer, at: number, piece: Uint8Array): Buffer {
  const out = Buffer.from(bytes);
  out.set(piece.subarray(0, out.length - at), at);
  return out;
}

function change(bytes: Buffer, random: Random, make: (byte: number) => number): Buffer {
  if (bytes.length === 0) return bytes;
  const out = Buffer.from(bytes);
  const at = random.below(out.length);
  out[at] = make(out[at] ?? 0);
  return out;
}

function writeNumber(bytes: Buffer, random: Random): Buffer {
  const width = random.pick([1, 2, 4, 8].filter((size) => size <= bytes.length));
  const at = random.below(bytes.length - width + 1);
  const piece = Buffer.alloc(8);
  const value = random.below(2) === 0 ? random.pick(EDGES) : bytes.length + random.below(9) - 4;
  piece.writeBigInt64BE(BigInt(value));
  const sized = piece.subarray(8 - width);
  return overwrite(bytes, at, random.below(2) === 0 ? sized : sized.toReversed());
}

function splice(bytes: Buffer, random: Random, { other }: MutationContext): Buffer {
  const piece = other();
  return Buffer.concat([bytes.subarray(0, place(bytes, random)), piece.subarray(place(piece, random))]);
}

function borrow(bytes: Buffer, random: Random, { other }: MutationContext): Buffer {
  const from = other();
  return from.length === 0 ? bytes : insert(bytes, place(bytes, random), from.subarray(...block(from, random)));
}

function word(bytes: Buffer, random: Random, { dictionary }: MutationContext): Buffer {
  if (dictionary.length === 0) return bytes;
  const piece = random.pick(dictionary);
  const at = place(bytes, random);
  return random.below(2) === 0 ? insert(bytes, at, piece) : overwrite(bytes, at, piece);
}

const withBytes =
  (step: Step): Step =>
  (bytes, random, context) =>
    bytes.length === 0 ? insert(bytes, 0, Buffer.of(random.below(256))) : step(bytes, random, context);

const STEPS: readonly Step[] = [
  (bytes, random) => change(bytes, random, (byte) => byte ^ (1 << random.below(8))),
  (bytes, random) => change(bytes, random, () => random.below(256)),
  (bytes, random) => change(bytes, random, (byte) => byte + random.below(71) - 35),
  (bytes, random) => insert(bytes, place(bytes, random), Buffer.of(random.below(256))),
  withBytes(writeNumber),
  withBytes((bytes, random) => {
    const [from, to] = block(bytes, random);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  }),
  withBytes((bytes, random) => insert(bytes, place(bytes, random), bytes.subarray(...block(bytes, random)))),
  withBytes((bytes, random) => overwrite(bytes, random.below(bytes.length), bytes.subarray(...block(bytes, random)))),
  withBytes((bytes, random) => {
    const piece = bytes.subarray(...block(bytes, random));
    return insert(
      bytes,
      place(bytes, random),
      Buffer.concat(Array.from({ length: 1 + random.below(20) }, () => piece)),
    );
  }),
  (bytes, random) => insert(bytes, place(bytes, random), Buffer.alloc(1 + random.below(32), random.below(256))),
  splice,
  borrow,
  word,
  word,
  word,
];

/** A changed copy: one to six steps, each one of flips, numbers, blocks, words of the dictionary, and other inputs. */
export function mutate(bytes: Buffer, random: Random, context: MutationContext): Buffer {
  let out = Buffer.from(bytes);
  for (let left = 1 + random.below(MAX_STEPS); left > 0; left -= 1) {
    out = Buffer.from(random.pick(STEPS)(out, random, context).subarray(0, context.maxBytes));
  }
  return out;
}
