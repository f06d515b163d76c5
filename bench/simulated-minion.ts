import { VERSION } from "../src/core/version.ts";
import { randomBytes } from "node:crypto";
import { systemClock } from "../src/core/clock.ts";
import { generateDhKey } from "../src/core/crypto/x25519.ts";
import { openSealed } from "../src/core/crypto/sealed-secret.ts";
import { generateIdentity, type Identity, type PublicIdentity } from "../src/core/identity.ts";
import type { MasterConnection } from "../src/wire/endpoints.ts";
import { encodeOpening } from "../src/wire/frames.ts";
import { makeProof, prologue } from "../src/wire/handshake-proof.ts";
import { signHeartbeat } from "../src/wire/heartbeat-signature.ts";
import { signLease } from "../src/wire/lease-signature.ts";
import type { Method, Request } from "../src/wire/messages.ts";
import { connectMaster } from "../src/wire/minion-connection.ts";
import { NoiseHandshake } from "../src/wire/noise.ts";

const LUKS_UUID = "6f2f3c1e-5b0f-4a6e-9c39-2f2d6d1a7c55";
/** As a header that our own format makes says it: what every lease of a volume carries. */
const LAYOUT = `config.json_size "12288"
config.keyslots_size "1048576"
digests.0.digest "c9553724bc5399d4"
digests.0.hash "sha256"
digests.0.iterations "1000"
digests.0.salt "c49811cf1dd75ced"
digests.0.segments "0"
digests.0.type "pbkdf2"
keyslots.0.af.hash "sha256"
keyslots.0.af.stripes "4000"
keyslots.0.af.type "luks1"
keyslots.0.area.encryption "aes-xts-plain64"
keyslots.0.area.key_size "64"
keyslots.0.area.offset "32768"
keyslots.0.area.size "258048"
keyslots.0.area.type "raw"
keyslots.0.kdf.hash "sha256"
keyslots.0.kdf.iterations "1000"
keyslots.0.kdf.salt "a065ae181b7d3365"
keyslots.0.kdf.type "pbkdf2"
keyslots.0.key_size "64"
keyslots.0.type "luks2"
segments.0.encryption "aes-xts-plain64"
segments.0.iv_tweak "0"
segments.0.offset "2097152"
segments.0.sector_size "4096"
segments.0.size "dynamic"
segments.0.type "crypt"
uuid "${LUKS_UUID}"
version "2"`;

/** Where a bench's master listens. */
export interface MasterPorts {
  readonly returnPort: number;
}

/** A minion's wire and crypto without its agent: real sockets, real handshakes, real leases. */
export class SimulatedMinion {
  readonly id: string;
  readonly identity: Identity;
  readonly #ports: MasterPorts;
  #known: PublicIdentity | undefined;
  #ticket: Uint8Array | undefined;
  #connection: MasterConnection | undefined;
  #beats = 0;

  constructor(id: string, ports: MasterPorts, identity = generateIdentity()) {
    this.id = id;
    this.identity = identity;
    this.#ports = ports;
  }

  /** The same host, for one more session. */
  another(): SimulatedMinion {
    return new SimulatedMinion(this.id, this.#ports, this.identity);
  }

  /** A new session: Noise XX the first time, IK from then on. */
  async connect(): Promise<void> {
    const known = this.#known;
    const connection = connectMaster({
      masters: [{ host: "127.0.0.1", ...this.#ports }],
      minionId: this.id,
      identity: this.identity,
      trust: {
        fingerprints: [],
        known: known ? [known] : [],
        firstUse: known === undefined,
        remember: async (master) => {
          this.#known = master;
          return Promise.resolve();
        },
      },
      tickets: {
        of: () => this.#ticket,
        keep: (_master, ticket) => {
          this.#ticket = ticket;
        },
      },
      jobs: undefined,
      handlers: {
        connected: async () => Promise.resolve(),
        stateChanged: () => {},
        job: () => {},
      },
      clock: systemClock,
      random: Math.random,
      report: (message, error) => console.error(message, error),
    });
    this.#connection = connection;
    await connection.ready(AbortSignal.timeout(30_000));
    if (known === undefined) await this.#greet();
  }

  /** As an agent greets: a host that was never heard is held where a rule asks for signs of life. */
  async #greet(): Promise<void> {
    await this.ask("hello", { version: VERSION, bootId: "bench", role: "agent", grains: {}, lastSeq: 0 });
  }

  /** One lease, request to key in hand and wiped. */
  async lease(path: string, purpose: "format" | "open" = "open"): Promise<void> {
    const connection = this.#connection;
    if (!connection) throw new Error("not connected");
    const ephemeral = generateDhKey();
    const request = signLease(
      {
        path,
        purpose,
        device: "/dev/bench/data",
        version: 0,
        luksUuid: purpose === "open" ? LUKS_UUID : "",
        layout: purpose === "open" ? LAYOUT : "",
        reencrypts: false,
        bootId: "bench",
        ephemeral: ephemeral.publicKey,
      },
      this.identity,
      connection.handshakeHash,
    );
    const answer = await connection.request("lease", request, { timeoutMs: 30_000 });
    if (answer.verdict !== "allow") throw new Error(`lease: ${answer.verdict}`);
    using secret = openSealed(answer.sealed, ephemeral, connection.master.dhKey);
    if (secret.length === 0) throw new Error("an empty key");
  }

  /** The opening of a next connection, as who listens on the wire can record and send it; after a first `connect`. */
  opening(): Buffer {
    const known = this.#known;
    if (!known) throw new Error("not connected before");
    const noise = new NoiseHandshake({
      pattern: "IK",
      role: "initiator",
      prologue: prologue(this.id),
      staticKey: this.identity.dh,
      remoteStatic: known.dhKey,
    });
    const first = noise.write((binding) => makeProof("minion", this.identity, binding));
    return encodeOpening("ik1", this.id, first, this.#ticket && { ticket: this.#ticket });
  }

  /** Any request on the live session; throws when it is not answered. */
  async ask<M extends Method>(method: M, body: Request<M>): Promise<void> {
    if (!this.#connection) throw new Error("not connected");
    await this.#connection.request(method, body, { timeoutMs: 30_000 });
  }

  /** A heartbeat as an agent signs it. */
  async heartbeat(): Promise<void> {
    const connection = this.#connection;
    if (!connection) throw new Error("not connected");
    this.#beats += 1;
    const unsigned = { lastSeq: 0, running: [], counter: this.#beats, bootId: "bench" };
    await connection.request("heartbeat", signHeartbeat(unsigned, this.identity, connection.handshakeHash));
  }

  async close(): Promise<void> {
    await this.#connection?.close();
    this.#connection = undefined;
  }
}

/** A name that no other bench run used. */
export function benchId(index: number): string {
  return `sim-${index}-${randomBytes(4).toString("hex")}`;
}
