import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { aeadOpen, aeadSeal } from "../../src/core/crypto/aead.ts";
import { dhKeyFromSecret } from "../../src/core/crypto/x25519.ts";
import { noiseNonce } from "../../src/wire/noise-state.ts";
import { NoiseHandshake } from "../../src/wire/noise.ts";

interface Vector {
  readonly protocol_name: string;
  readonly init_prologue: string;
  readonly init_static: string;
  readonly init_ephemeral: string;
  readonly init_remote_static?: string;
  readonly resp_prologue: string;
  readonly resp_static: string;
  readonly resp_ephemeral: string;
  readonly handshake_hash: string;
  readonly messages: readonly { readonly payload: string; readonly ciphertext: string }[];
}

const file = readFileSync(new URL("noise.json", import.meta.url), "utf8");
const all = (JSON.parse(file) as { readonly vectors: readonly Vector[] }).vectors;
// pre-shared keys are not part of our protocol
const vectors = all.filter(({ protocol_name: name }) => !name.includes("psk"));

const hex = (text: string) => Buffer.from(text, "hex");
const none = new Uint8Array(0);

test("the published set holds both patterns that we use", () => {
  expect(vectors.map((vector) => vector.protocol_name).sort()).toEqual([
    "Noise_IK_25519_AESGCM_SHA256",
    "Noise_XX_25519_AESGCM_SHA256",
  ]);
});

test.each(vectors)("$protocol_name: every published byte, both ways", (vector) => {
  const pattern = vector.protocol_name.startsWith("Noise_XX") ? "XX" : "IK";
  const initiator = new NoiseHandshake({
    pattern,
    role: "initiator",
    prologue: hex(vector.init_prologue),
    staticKey: dhKeyFromSecret(hex(vector.init_static)),
    ephemeral: dhKeyFromSecret(hex(vector.init_ephemeral)),
    ...(vector.init_remote_static ? { remoteStatic: hex(vector.init_remote_static) } : {}),
  });
  const responder = new NoiseHandshake({
    pattern,
    role: "responder",
    prologue: hex(vector.resp_prologue),
    staticKey: dhKeyFromSecret(hex(vector.resp_static)),
    ephemeral: dhKeyFromSecret(hex(vector.resp_ephemeral)),
  });
  const handshakes = pattern === "XX" ? 3 : 2;
  for (const [at, { payload, ciphertext }] of vector.messages.slice(0, handshakes).entries()) {
    const [from, to] = at % 2 === 0 ? [initiator, responder] : [responder, initiator];
    const message = from.write(() => hex(payload));
    expect(message.toString("hex")).toBe(ciphertext);
    expect(Buffer.from(to.read(message).payload).toString("hex")).toBe(payload);
  }
  const [ours, theirs] = [initiator.finish(), responder.finish()];
  expect(ours.hash.toString("hex")).toBe(vector.handshake_hash);
  expect(theirs.hash.toString("hex")).toBe(vector.handshake_hash);
  const sent = { ours: 0, theirs: 0 };
  for (const [at, { payload, ciphertext }] of vector.messages.entries()) {
    if (at < handshakes) continue;
    const side = at % 2 === 0 ? "ours" : "theirs";
    const [from, to] = side === "ours" ? [ours, theirs] : [theirs, ours];
    const nonce = noiseNonce(sent[side]);
    sent[side] += 1;
    expect(aeadSeal(from.send, nonce, none, hex(payload)).toString("hex")).toBe(ciphertext);
    expect(aeadOpen(to.receive, nonce, none, hex(ciphertext)).toString("hex")).toBe(payload);
  }
});
