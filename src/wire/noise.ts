import { AEAD_TAG_BYTES } from "../core/crypto/aead.ts";
import { DH_KEY_BYTES, type DhKey, generateDhKey } from "../core/crypto/x25519.ts";
import { BugError, ProtocolError } from "../core/errors.ts";
import { NoiseState, type TransportKeys } from "./noise-state.ts";

type Token = "e" | "s" | "ee" | "es" | "se" | "ss";

/** The message patterns of Noise revision 34, section 7.5. */
const PATTERNS = {
  XX: { known: false, messages: [["e"], ["e", "ee", "s", "es"], ["s", "se"]] },
  IK: {
    known: true,
    messages: [
      ["e", "es", "s", "ss"],
      ["e", "ee", "se"],
    ],
  },
} as const satisfies Record<string, { known: boolean; messages: readonly (readonly Token[])[] }>;

export type NoisePattern = keyof typeof PATTERNS;

export interface NoiseOptions {
  readonly pattern: NoisePattern;
  readonly role: "initiator" | "responder";
  readonly prologue: Uint8Array;
  readonly staticKey: DhKey;
  /** The responder's static key: the initiator of IK needs it. */
  readonly remoteStatic?: Uint8Array;
  /** Made when absent; given by test vectors alone. */
  readonly ephemeral?: DhKey;
}

/** What one handshake message brought. */
export interface NoiseMessage {
  readonly payload: Uint8Array;
  /** The handshake hash just before the payload: what a signature in the payload covers. */
  readonly binding: Buffer;
}

/** A handshake is over: transport keys, and the hash that binds to it whatever is signed later. */
export interface NoiseResult {
  readonly send: Buffer;
  readonly receive: Buffer;
  readonly hash: Buffer;
  readonly remoteStatic: Uint8Array;
}

/**
 * One handshake `Noise_XX_25519_AESGCM_SHA256` or `Noise_IK_25519_AESGCM_SHA256` (Noise revision 34): pure, no socket.
 * Each side calls `write` and `read` in turn as the pattern says, then `finish`. After a throw the handshake is dead. One that
 * does not get as far as `finish` is to be disposed of.
 */
export class NoiseHandshake implements Disposable {
  readonly #state: NoiseState;
  readonly #options: NoiseOptions;
  readonly #messages: readonly (readonly Token[])[];
  readonly #ephemeral: DhKey;
  #remoteStatic: Uint8Array | undefined;
  #remoteEphemeral: Uint8Array | undefined;
  #next = 0;

  constructor(options: NoiseOptions) {
    const { known, messages } = PATTERNS[options.pattern];
    this.#options = options;
    this.#messages = messages;
    this.#state = new NoiseState(`Noise_${options.pattern}_25519_AESGCM_SHA256`, options.prologue);
    this.#ephemeral = options.ephemeral ?? generateDhKey();
    if (known) {
      const responder = options.role === "initiator" ? options.remoteStatic : options.staticKey.publicKey;
      if (!responder) throw new BugError("noise-order", "cannot start IK: the responder's key is missing");
      this.#remoteStatic = options.remoteStatic;
      this.#state.mixHash(responder);
    }
  }

  /** The other side's static key, once a message brought it; proven by the message after that one at the latest. */
  get remoteStatic(): Uint8Array | undefined {
    return this.#remoteStatic;
  }

  /** The next message; `payload` is given the hash that a signature in it should cover. */
  write(payload: (binding: Buffer) => Uint8Array): Buffer {
    const parts: Uint8Array[] = [];
    for (const token of this.#turn(true)) {
      if (token === "e") {
        parts.push(this.#ephemeral.publicKey);
        this.#state.mixHash(this.#ephemeral.publicKey);
      } else if (token === "s") {
        parts.push(this.#state.encryptAndHash(this.#options.staticKey.publicKey));
      } else {
        this.#mix(token);
      }
    }
    parts.push(this.#state.encryptAndHash(payload(this.#state.hash)));
    return Buffer.concat(parts);
  }

  /** Takes the other side's next message in. Throws ProtocolError `bad-seal`, `bad-handshake`, `weak-key`. */
  read(message: Uint8Array): NoiseMessage {
    let rest = message;
    const take = (length: number) => {
      if (rest.length < length) throw new ProtocolError("bad-handshake", "cannot read handshake: it is too short");
      const part = Buffer.from(rest.subarray(0, length));
      rest = rest.subarray(length);
      return part;
    };
    for (const token of this.#turn(false)) {
      if (token === "e") {
        this.#remoteEphemeral = take(DH_KEY_BYTES);
        this.#state.mixHash(this.#remoteEphemeral);
      } else if (token === "s") {
        const sealed = take(DH_KEY_BYTES + (this.#state.keyed ? AEAD_TAG_BYTES : 0));
        this.#remoteStatic = this.#state.decryptAndHash(sealed);
      } else {
        this.#mix(token);
      }
    }
    const binding = this.#state.hash;
    return { payload: this.#state.decryptAndHash(rest), binding };
  }

  /** The session's keys. Throws BugError `noise-order` before the last message. */
  finish(): NoiseResult {
    if (this.#next !== this.#messages.length || !this.#remoteStatic) {
      throw new BugError("noise-order", "cannot finish the handshake: messages are missing");
    }
    const hash = this.#state.hash;
    const keys: TransportKeys = this.#state.split();
    this[Symbol.dispose]();
    const initiator = this.#options.role === "initiator";
    return {
      send: initiator ? keys.initiator : keys.responder,
      receive: initiator ? keys.responder : keys.initiator,
      hash,
      remoteStatic: this.#remoteStatic,
    };
  }

  /** Overwrites what this handshake was made with; what was recorded of it cannot be opened from here any more. */
  [Symbol.dispose](): void {
    this.#ephemeral.wipe();
    this.#state.wipe();
  }

  #turn(writing: boolean): readonly Token[] {
    const tokens = this.#messages[this.#next];
    const mine = (this.#next % 2 === 0) === (this.#options.role === "initiator");
    if (!tokens || mine !== writing) throw new BugError("noise-order", "cannot go on with the handshake: wrong turn");
    this.#next += 1;
    return tokens;
  }

  #mix(token: "ee" | "es" | "se" | "ss"): void {
    const initiator = this.#options.role === "initiator";
    const mine = (initiator ? token[0] : token[1]) === "e" ? this.#ephemeral : this.#options.staticKey;
    const theirs = (initiator ? token[1] : token[0]) === "e" ? this.#remoteEphemeral : this.#remoteStatic;
    if (!theirs) throw new BugError("noise-order", "cannot go on with the handshake: a key is missing");
    this.#state.mixKey(mine.agree(theirs));
  }
}
