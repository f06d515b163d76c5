import { expect, test } from "vitest";
import { generateDhKey } from "../../../src/core/crypto/x25519.ts";
import { NoiseHandshake } from "../../../src/wire/noise.ts";

const prologue = Buffer.from("test");
const none = () => new Uint8Array(0);

function pair() {
  const [master, minion, ephemeral] = [generateDhKey(), generateDhKey(), generateDhKey()];
  const known = { pattern: "IK", prologue, remoteStatic: master.publicKey } as const;
  const initiator = new NoiseHandshake({ ...known, role: "initiator", staticKey: minion });
  const responder = new NoiseHandshake({ pattern: "IK", prologue, role: "responder", staticKey: master, ephemeral });
  return { initiator, responder, ephemeral };
}

test("a handshake's own key is wiped when it is finished, and the keys of the session are not", () => {
  const { initiator, responder, ephemeral } = pair();
  responder.read(initiator.write(none));
  initiator.read(responder.write(none));
  const [ours, theirs] = [responder.finish(), initiator.finish()];
  expect(() => ephemeral.agree(generateDhKey().publicKey)).toThrow(expect.objectContaining({ code: "key-wiped" }));
  expect(ours.send).toEqual(theirs.receive);
  expect(ours.receive).toEqual(theirs.send);
  expect(ours.send.every((byte) => byte === 0)).toBe(false);
});

test("a handshake that is disposed of half way goes no further", () => {
  const { initiator, responder, ephemeral } = pair();
  responder.read(initiator.write(none));
  responder[Symbol.dispose]();
  responder[Symbol.dispose]();
  expect(() => responder.write(none)).toThrow(expect.objectContaining({ code: "key-wiped" }));
  expect(() => ephemeral.agree(generateDhKey().publicKey)).toThrow(expect.objectContaining({ code: "key-wiped" }));
});
