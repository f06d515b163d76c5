import { afterEach, expect, test, vi } from "vitest";

const key = new Uint8Array(32).fill(5);

/** Our modules anew, with what stands in for the package. */
async function loadWith(standIn: () => unknown) {
  vi.resetModules();
  vi.doMock("sodium-native", standIn as () => Record<string, unknown>);
  const { loadSodium, sodium } = await import("../../../../src/core/crypto/sodium.ts");
  const { dhKeyFromSecret, generateDhKey } = await import("../../../../src/core/crypto/x25519.ts");
  const { signingKeyFromSeed, verifyQuickly } = await import("../../../../src/core/crypto/ed25519.ts");
  return { isLoaded: await loadSodium(), sodium, dhKeyFromSecret, generateDhKey, signingKeyFromSeed, verifyQuickly };
}

afterEach(() => {
  vi.doUnmock("sodium-native");
  vi.resetModules();
});

const real = async () => (await vi.importActual<{ default: object }>("sodium-native")).default;
const lies = {
  "there is no such package": () => {
    throw new Error("Cannot find package");
  },
  "every signature is right to it": async () => ({
    default: { ...(await real()), crypto_sign_verify_detached: () => true },
  }),
  "no signature is right to it": async () => ({
    default: { ...(await real()), crypto_sign_verify_detached: () => false },
  }),
  "it agrees on another key": async () => ({
    default: { ...(await real()), crypto_scalarmult: (shared: Uint8Array) => shared.fill(1) },
  }),
  "its function throws": async () => ({
    default: {
      ...(await real()),
      crypto_scalarmult_base: () => {
        throw new Error("no binary for this platform");
      },
    },
  }),
};

test.each(Object.entries(lies))("where %s, node:crypto does it all", async (_, standIn) => {
  const { isLoaded, sodium, dhKeyFromSecret, generateDhKey, signingKeyFromSeed, verifyQuickly } =
    await loadWith(standIn);
  expect(isLoaded).toBe(false);
  expect(sodium()).toBeUndefined();
  const signer = signingKeyFromSeed(key);
  const text = Buffer.from("text");
  expect(await verifyQuickly(signer.publicKey, text, signer.sign(text))).toBe(true);
  expect(await verifyQuickly(signer.publicKey, Buffer.from("Text"), signer.sign(text))).toBe(false);
  const [ours, theirs] = [dhKeyFromSecret(key), generateDhKey()];
  expect(ours.agree(theirs.publicKey)).toEqual(theirs.agree(ours.publicKey));
});

test("with the package itself it is used", async () => {
  const { isLoaded, sodium } = await loadWith(async () => ({ default: await real() }));
  expect(isLoaded).toBe(true);
  expect(sodium()).toBeDefined();
});
