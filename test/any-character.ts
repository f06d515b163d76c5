import * as fc from "fast-check";

/**
 * Any Unicode character, controls and Latin letters more often. In place of fast-check's unit "binary", whose tables take
 * seconds to build on a busy machine.
 */
export const anyCharacter: fc.Arbitrary<string> = fc
  .oneof(
    fc.integer({ min: 0, max: 0xff }),
    fc.integer({ min: 0, max: 0xd7ff }),
    fc.integer({ min: 0xe000, max: 0x10ffff }),
  )
  .map((code) => String.fromCodePoint(code));
