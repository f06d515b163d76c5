import type { Clock } from "../../core/clock.ts";
import { sha256 } from "../../core/crypto/hash.ts";
import { AuthError, errorMessage, ProtocolError } from "../../core/errors.ts";
import { KeyedLanes } from "../../core/keyed-lanes.ts";
import { formatLayout, layoutOf } from "../../core/luks-layout.ts";
import type { Logger } from "../../core/log.ts";
import type { EscrowedHeader, HeaderFacts, HeaderSlot } from "../../core/volume-header.ts";
import { type LuksHeader, parseLuksBytes } from "../../states/devices/luks-header.ts";
import { keyslotsOf, luksHeaderBytes, volumeKeyMark } from "../../states/devices/luks-slots.ts";
import { findLuksToken } from "../../states/devices/luks-token.ts";
import type { Actor } from "../audit/actor.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { EventBus } from "../events.ts";
import type { Store } from "../store/store.ts";
import { headersToKeep } from "./header-keep.ts";
import { findOpeningVersion } from "./header-proof.ts";
import { HeaderStore, type SealingSteps, type StoredHeader } from "./header-store.ts";
import type { KnownHeaders } from "./known-headers.ts";
import type { Vault } from "./vault.ts";
import type { Volumes } from "./volumes.ts";

/** What escrow works with. */
export interface HeadersOptions {
  readonly store: Store;
  readonly vault: Vault;
  readonly audit: Pick<AuditLog, "append">;
  readonly events: EventBus;
  readonly log: Logger;
  readonly clock: Clock;
  readonly volumes: Pick<Volumes, "get">;
  /** A header that is not the volume's is not taken in; one that is becomes the measure. */
  readonly known: Pick<KnownHeaders, "forget" | "kept" | "whyNotKept">;
  /** Pillar path of the key of a volume that a host's own pillar declares; undefined when it declares none. */
  readonly keyPathOf: (id: string, volume: string) => Promise<string | undefined>;
}

/** That a stored key opens a header that is in escrow: proven by the master alone. */
export interface VerifiedCopy {
  /** Version of the header in escrow. */
  readonly header: number;
  readonly digest: string;
  /** Version of the stored key. */
  readonly keyVersion: number;
  /** When it was proven, milliseconds since the epoch. */
  readonly at: number;
  /** Whether it is the very header that the host last reported. */
  readonly isCurrent: boolean;
}

/** A header in escrow, by name. `isRight`: it is known to be encrypted to the recipients of now. */
export interface SealedHeader {
  readonly id: string;
  readonly volume: string;
  readonly version: number;
  readonly isRight: boolean;
}

/** LUKS headers in escrow: encrypted like secrets, versioned, each once, audited, bounded in number. */
export class Headers {
  readonly #options: HeadersOptions;
  readonly #store: HeaderStore;
  readonly #lanes = new KeyedLanes();
  readonly #proofs = new KeyedLanes();

  constructor(options: HeadersOptions) {
    this.#options = options;
    this.#store = new HeaderStore(options.store, options.vault);
  }

  /** What is in escrow; of one host, of one of its volumes, or of all; newest first. Never bytes. */
  async list(id?: string, volume?: string): Promise<readonly (EscrowedHeader & { readonly id: string })[]> {
    const all = await this.#store.list(id, volume);
    return all.map(({ pieces: _pieces, copy: _copy, recipients: _recipients, ...header }) => header);
  }

  /** Every header, and whether it is known to be encrypted to the recipients of now. */
  async sealed(): Promise<readonly SealedHeader[]> {
    const all = await this.#store.list();
    return all.map(({ id, volume, version, recipients }) => {
      return { id, volume, version, isRight: recipients === this.#store.recipients };
    });
  }

  /**
   * Encrypts a header anew, to the recipients of now. Cut off anywhere it still reads, and the next call does it. Throws
   * HostError when the store fails, ProtocolError for a header that does not open any more.
   */
  async sealAnew(
    { id, volume, version }: Omit<SealedHeader, "isRight">,
    reached: SealingSteps = {},
  ): Promise<"rekeyed" | "already" | "nothing"> {
    return this.#lanes.run(`${id}/${volume}`, async () => {
      const header = (await this.#store.list(id, volume)).find((one) => one.version === version);
      if (header === undefined) return "nothing";
      if (header.recipients === this.#store.recipients) return "already";
      await this.#store.sealAnew(id, header, reached);
      return "rekeyed";
    });
  }

  /** The bytes of a header as it is encrypted now, which the caller wipes. Undefined for none. */
  async #read(id: string, volume: string, version: number): Promise<Buffer | undefined> {
    return this.#lanes.run(`${id}/${volume}`, async () => {
      const header = (await this.#store.list(id, volume)).find((one) => one.version === version);
      return header && this.#store.read(id, header);
    });
  }

  /**
   * The version under which these very bytes are in escrow already; they count as the newest from then on. Undefined when
   * they are not. Throws AuthError `not-declared` for a volume that the host's pillar does not declare.
   */
  async known(id: string, facts: Pick<HeaderFacts, "volume" | "digest" | "reason">): Promise<number | undefined> {
    const { keyPathOf, clock } = this.#options;
    const path = await keyPathOf(id, facts.volume);
    if (path === undefined) {
      throw new AuthError("not-declared", `cannot take a header of "${id}": its pillar declares no "${facts.volume}"`);
    }
    return this.#lanes.run(`${id}/${facts.volume}`, async () => {
      const all = await this.#store.list(id, facts.volume);
      const found = all.find(({ digest }) => digest === facts.digest);
      if (found === undefined) return undefined;
      if (found !== all[0]) await this.#store.update(id, { ...found, at: clock.now(), reason: facts.reason });
      return found.version;
    });
  }

  /**
   * Keeps a header: whole, what it says it is, encrypted, on disk and read back, recorded. Answers with its version. Throws
   * ProtocolError `bad-header` for bytes that are not the sound LUKS2 header that was announced.
   */
  async add(id: string, facts: HeaderFacts, bytes: Buffer, from: string): Promise<number> {
    const { volume, luksUuid } = facts;
    const known = await this.known(id, facts);
    if (known !== undefined) return known;
    const finding = await parseLuksBytes(bytes);
    const header = finding.kind === "valid" ? finding.header : undefined;
    const bad = (why: string) =>
      new ProtocolError("bad-header", `cannot keep the header of "${volume}" of "${id}": ${why}`);
    if (sha256(bytes).toString("hex") !== facts.digest || bytes.length !== facts.bytes) throw bad("it is not whole");
    if (header?.version !== 2 || luksHeaderBytes(header) !== bytes.length) throw bad("it is no sound LUKS2 header");
    if (header.uuid !== luksUuid) throw bad("it has another UUID than was said");
    const slots = slotsOf(header, facts.slots);
    const layout = formatLayout(layoutOf(header));
    const path = (await this.#options.keyPathOf(id, volume)) ?? "";
    const why = await this.#options.known.whyNotKept(id, path, layout, luksUuid);
    if (why !== undefined) throw bad(why);
    // cut off here, what is known is what was just compared
    await this.#options.known.kept(id, path, layout, luksUuid);
    const stored = await this.#lanes.run(`${id}/${volume}`, async () =>
      this.#store.add(
        id,
        {
          ...facts,
          slots,
          volumeKey: volumeKeyMark(header),
          at: this.#options.clock.now(),
          proven: { version: 0, at: 0 },
        },
        bytes,
        async (added, changes) => this.#record(id, from, added, changes),
      ),
    );
    bytes.fill(0);
    await this.#lanes.run(`${id}/${volume}`, async () => this.#prune(id, volume));
    // the host need not wait for a key derivation
    void this.#proveNew(id, stored);
    return stored.version;
  }

  /** How the newest header in escrow of a volume says that it is encrypted; undefined for none. */
  async layout(id: string, volume: string): Promise<string | undefined> {
    const [newest] = await this.#store.list(id, volume);
    const bytes = newest && (await this.#read(id, volume, newest.version));
    if (bytes === undefined) return undefined;
    const finding = await parseLuksBytes(bytes);
    bytes.fill(0);
    return finding.kind === "valid" ? formatLayout(layoutOf(finding.header)) : undefined;
  }

  async #record(
    id: string,
    from: string,
    header: StoredHeader,
    changes: Parameters<AuditLog["append"]>[1],
  ): Promise<void> {
    const { audit, events, clock } = this.#options;
    const { volume, version, digest, luksUuid, reason, device, disk, slots } = header;
    const data = {
      volume,
      version,
      digest,
      luksUuid,
      reason,
      device,
      disk: { ...disk },
      slots: slots.map(({ slot, kdf, version: key, trusted }) => ({ slot, kdf, version: key, trusted })),
    };
    await audit.append({ at: clock.now(), kind: "header-escrowed", actor: id, subject: id, from, data }, changes);
    events.emit(`volume/header/${id}`, { id, volume, version, reason, digest });
  }

  /** One header of a host after the other: what waits for its proof is in the store, not in memory. */
  async #proveNew(id: string, { volume, version }: StoredHeader): Promise<void> {
    const { log } = this.#options;
    try {
      await this.#proofs.run(id, async () => {
        const header = (await this.#store.list(id, volume)).find((one) => one.version === version);
        const bytes = header && (await this.#read(id, volume, version));
        if (header === undefined || bytes === undefined) return;
        try {
          await this.#prove(id, header, bytes);
        } finally {
          bytes.fill(0);
        }
      });
    } catch (error) {
      log.warn({ id, volume, err: errorMessage(error) }, "an escrowed header was not proven");
    }
  }

  async #prove(id: string, header: StoredHeader, bytes: Buffer): Promise<EscrowedHeader["proven"]> {
    const { keyPathOf, clock, log, vault } = this.#options;
    const path = (await keyPathOf(id, header.volume)) ?? "";
    const version = await findOpeningVersion(bytes, { vault, id, path }, (reason) =>
      log.warn({ id, volume: header.volume, reason }, "a stored key could not be tried"),
    );
    const proven = { version, at: version === 0 ? 0 : clock.now() };
    await this.#lanes.run(`${id}/${header.volume}`, async () => {
      const [now] = (await this.#store.list(id, header.volume)).filter((one) => one.version === header.version);
      if (now) await this.#store.update(id, { ...now, proven });
    });
    return proven;
  }

  /**
   * Proves anew, by the master alone, that a stored key opens the header of a volume: the one that the host last reported
   * when it is in escrow, else the newest. Undefined when none does, or nothing is in escrow.
   */
  async verifiedCopy(id: string, volume: string): Promise<VerifiedCopy | undefined> {
    const all = await this.#store.list(id, volume);
    const reported = this.#options.volumes.get(id, volume)?.headerDigest ?? "";
    const header = all.find(({ digest }) => digest === reported) ?? all[0];
    if (header === undefined) return undefined;
    const bytes = await this.#read(id, volume, header.version);
    if (bytes === undefined) return undefined;
    try {
      const { version, at } = await this.#prove(id, header, bytes);
      if (version === 0) return undefined;
      const isCurrent = header.digest === reported;
      return { header: header.version, digest: header.digest, keyVersion: version, at, isCurrent };
    } finally {
      bytes.fill(0);
    }
  }

  /** The bytes of a header for its own host, recorded before they leave; the caller wipes them. Undefined for none. */
  async release(id: string, volume: string, version: number, from: string): Promise<Buffer | undefined> {
    const header = (await this.#store.list(id, volume)).find((one) => one.version === version);
    if (header === undefined) return undefined;
    const { audit, clock } = this.#options;
    const data = { volume, version, digest: header.digest, luksUuid: header.luksUuid };
    await audit.append({ at: clock.now(), kind: "header-released", actor: id, subject: id, from, data });
    return this.#read(id, volume, version);
  }

  /**
   * Destroys what is in escrow of a volume, recorded before: the last step of a final erase. Returns how many headers there
   * were.
   */
  async destroy(id: string, volume: string, by: Actor): Promise<number> {
    return this.#lanes.run(`${id}/${volume}`, async () => {
      const { audit, clock } = this.#options;
      const count = await this.#store.count(id, volume);
      const data = { volume, count };
      if (count > 0) await audit.append({ at: clock.now(), kind: "header-destroyed", ...by, subject: id, data });
      await this.#store.destroy(id, volume);
      const path = await this.#options.keyPathOf(id, volume);
      if (path !== undefined) await this.#options.known.forget(id, path);
      return count;
    });
  }

  /** Keeps no more than a host can be told of. */
  async #prune(id: string, volume: string): Promise<void> {
    const { vault, keyPathOf } = this.#options;
    const all = await this.#store.list(id, volume);
    const path = await keyPathOf(id, volume);
    // without the pillar nobody can tell which keys are stored
    if (path === undefined) return;
    const kept = headersToKeep(all, await vault.versions(id, path));
    await this.#store.remove(
      id,
      all.filter((header) => !kept.has(header)),
    );
  }
}

/** The slots as the header itself has them; only whether each is meant to be there is the host's word. */
function slotsOf(header: LuksHeader, said: readonly HeaderSlot[]): HeaderSlot[] {
  const token = findLuksToken(header);
  const machine = token.kind === "valid" ? token.token.machine : [];
  return keyslotsOf(header).map(({ slot, kdf, priority, mark }) => {
    const version = machine.find((one) => one.slot === slot)?.version ?? 0;
    const trusted = version > 0 || said.some((one) => one.mark === mark && one.trusted);
    return { slot, kdf, priority, mark, version, trusted };
  });
}
