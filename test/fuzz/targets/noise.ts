import { createHash } from "node:crypto";
import { dhKeyFromSecret } from "../../../src/core/crypto/x25519.ts";
import { ProtocolError } from "../../../src/core/errors.ts";
import { checkProof } from "../../../src/wire/handshake-proof.ts";
import { NoiseHandshake, type NoiseOptions } from "../../../src/wire/noise.ts";
import { promise, type Target } from "../target.ts";

// nobody's keys; a handshake wipes its ephemeral one, so each gets a new object
const keyOf = (word: string) => dhKeyFromSecret(createHash("sha256").update(`fuzz ${word}`).digest());
const [minion, master] = [keyOf("minion"), keyOf("master")];
const PROLOGUE = Buffer.from("latchkey fuzz");

function side(pattern: NoiseOptions["pattern"], role: NoiseOptions["role"]): NoiseHandshake {
  const known = pattern === "IK" && role === "initiator" ? { remoteStatic: master.publicKey } : {};
  const staticKey = role === "initiator" ? minion : master;
  return new NoiseHandshake({ pattern, role, prologue: PROLOGUE, staticKey, ephemeral: keyOf(role), ...known });
}

const payload = () => Buffer.alloc(96, 1);

/** A handshake before its message `index`: the side that reads it, and what it would read. */
function before(pattern: NoiseOptions["pattern"], index: number): readonly [NoiseHandshake, Buffer] {
  const sides = [side(pattern, "initiator"), side(pattern, "responder")] as const;
  for (let turn = 0; ; turn += 1) {
    const [writer, reader] = turn % 2 === 0 ? sides : [sides[1], sides[0]];
    const message = writer.write(payload);
    if (turn === index) return [reader, message];
    reader.read(message);
  }
}

const STAGES = [
  ["XX", 0],
  ["XX", 1],
  ["XX", 2],
  ["IK", 0],
  ["IK", 1],
] as const;

export const target: Target = {
  covers: ["src/wire/noise.ts", "src/wire/noise-state.ts", "src/wire/handshake-proof.ts"],
  maxBytes: 1024,
  refusals: [ProtocolError],
  dictionary: ["\0".repeat(32), `\x01${"\0".repeat(31)}`, "\xff".repeat(32), "\xec" + "\xff".repeat(30) + "\x7f"],
  seeds: () => STAGES.map(([pattern, index], at) => Buffer.concat([Buffer.of(at), before(pattern, index)[1]])),
  decode: (bytes) => {
    const [pattern, index] = STAGES[(bytes[0] ?? 0) % STAGES.length] ?? STAGES[0];
    const [begun, honest] = before(pattern, index);
    using reader = begun;
    const sent = bytes.subarray(1);
    const { payload: taken, binding } = reader.read(sent);
    // the first message of XX is in clear: any 32 bytes are a key
    if (pattern !== "XX" || index > 0) promise("only what was sent is taken", sent.equals(honest));
    promise("no more comes out than went in", taken.length <= sent.length);
    checkProof("minion", taken, binding, reader.remoteStatic);
  },
};
