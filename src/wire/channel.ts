import { AEAD_KEY_BYTES, type AeadKey, aeadKey, aeadOpen, aeadSeal } from "../core/crypto/aead.ts";
import { ProtocolError } from "../core/errors.ts";
import { DATA_HEADER_BYTES, KIND, SESSION_ID_BYTES } from "./frames.ts";
import { PROTOCOL_VERSION } from "./limits.ts";
import { noiseNonce } from "./noise-state.ts";

const NO_KEY = new Uint8Array(AEAD_KEY_BYTES);

/**
 * Both directions of a session after the handshake: AES-256-GCM under Noise's transport keys, the counter carried in
 * clear. A counter must be higher than all before it; only a frame that opens moves it, so what others inject changes
 * nothing.
 */
export class Channel {
  readonly sessionId: string;
  #send: AeadKey;
  #receive: AeadKey;
  readonly #header: Buffer;
  #sent = 0;
  #expected = 0;

  /** Takes the keys over: they are wiped here. */
  constructor(sessionId: string, keys: { readonly send: Buffer; readonly receive: Buffer }) {
    this.sessionId = sessionId;
    this.#send = aeadKey(keys.send);
    this.#receive = aeadKey(keys.receive);
    keys.send.fill(0);
    keys.receive.fill(0);
    this.#header = Buffer.concat([Uint8Array.of(PROTOCOL_VERSION, KIND.data), Buffer.from(sessionId, "hex")]);
  }

  /** Whether anything was sealed yet. */
  get hasSent(): boolean {
    return this.#sent > 0;
  }

  /** The frame of a message: header (version, kind, session, counter), ciphertext, tag; the header is authenticated. */
  seal(plaintext: Uint8Array): Buffer {
    const nonce = noiseNonce(this.#sent);
    this.#sent += 1;
    const header = Buffer.allocUnsafe(DATA_HEADER_BYTES);
    header.set(this.#header);
    header.set(nonce.subarray(4), 2 + SESSION_ID_BYTES);
    return aeadSeal(this.#send, nonce, header, plaintext, header);
  }

  /** The message in a frame of this session, or the reason to drop it. */
  open(counter: number, frame: Buffer): Buffer | "replayed" | "bad-seal" {
    if (counter < this.#expected) return "replayed";
    try {
      const header = frame.subarray(0, DATA_HEADER_BYTES);
      const plaintext = aeadOpen(this.#receive, noiseNonce(counter), header, frame.subarray(DATA_HEADER_BYTES));
      this.#expected = counter + 1;
      return plaintext;
    } catch (error) {
      if (error instanceof ProtocolError) return "bad-seal";
      throw error;
    }
  }

  /** Ends it: the keys are let go, which has OpenSSL overwrite them, and nothing can be sealed or opened any more. */
  wipe(): void {
    this.#send = NO_KEY;
    this.#receive = NO_KEY;
    this.#sent = Number.MAX_SAFE_INTEGER + 1;
    this.#expected = Number.POSITIVE_INFINITY;
  }
}
