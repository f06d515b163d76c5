import type { AuditFact } from "../../core/audit/chain.ts";
import { equalBytes } from "../../core/crypto/hash.ts";
import { errorMessage, HostError, LatchkeyError } from "../../core/errors.ts";
import type { Secret } from "../../core/secret.ts";
import type { VolumeEntry } from "../../core/volume-api.ts";
import type { CompiledPillar } from "../../pillar/compile.ts";
import { keyPathOf, readVolumes } from "../../states/volume/spec.ts";
import { type Actor, ROOT } from "../audit/actor.ts";
import type { SecretVersions } from "../secret-versions.ts";
import type { RotationToCommit } from "./rotations.ts";
import type { Volumes } from "./volumes.ts";

/** A provisioned volume that would be left without a verified copy of its key. */
export interface VolumeAtRisk {
  readonly id: string;
  readonly volume: string;
  readonly why: string;
  /** The command that mends it. */
  readonly mend: string;
}

/** What is about to happen, in words for the audit log, and whether the safeguard is to be skipped. */
export interface GuardedAct {
  readonly what: string;
  readonly force: boolean;
  readonly by?: Actor;
}

/** What the guard rests on. */
export interface VolumeGuardOptions {
  readonly volumes: Pick<Volumes, "get" | "list">;
  readonly versions: Pick<SecretVersions, "current" | "get" | "open">;
  readonly compile: (id: string) => Promise<CompiledPillar>;
  /** Writes an audit record; what it throws stops what is guarded. */
  readonly record: (fact: Omit<AuditFact, "at">) => Promise<unknown>;
  /** The stored version that opens the newest escrowed header, proven by the master alone; undefined for none. */
  readonly verifiedCopy?: (id: string, volume: string) => Promise<{ readonly keyVersion: number } | undefined>;
}

const isProvisioned = ({ state, keyPath, luksUuid }: VolumeEntry) =>
  state !== "not-provisioned" && keyPath !== "" && luksUuid !== "";
const isUp = ({ state }: VolumeEntry) => state !== "down";
/** The host has said that the current key does not open it: no change of the key can make that worse. */
const isKnownBad = ({ problems }: VolumeEntry) => problems.some(({ code }) => code === "key-does-not-open");

/** Loss protection at the master: knows which provisioned volumes would be left without a key that was seen to open them. */
export class VolumeGuard {
  readonly #options: VolumeGuardOptions;

  constructor(options: VolumeGuardOptions) {
    this.#options = options;
  }

  /** Volumes of a host that are up now, and whose current key was not seen to open them: they would not survive a reboot. */
  async unkept(id: string): Promise<readonly VolumeAtRisk[]> {
    const entries = this.#provisioned(id).filter(isUp);
    if (entries.length === 0) return [];
    const pillar = await this.#compiled(id);
    if (typeof pillar === "string") {
      return entries.map((entry) =>
        atRisk(entry, `the pillar of its host is broken: ${pillar}`, "latchkey pillar lint"),
      );
    }
    const found = await Promise.all(
      entries.map(async (entry) => {
        if (isKnownBad(entry)) return atRisk(entry, "the stored key does not open it", rescue(entry));
        const why = await this.#whyUnproven(entry, pillar, entry.keyPath);
        return why === undefined ? undefined : atRisk(entry, why, `latchkey volume check ${nameOf(entry)}`);
      }),
    );
    return found.filter((risk) => risk !== undefined);
  }

  /** Volumes of a host that would lose their key, or would not be declared any more, were this its pillar. */
  async lostWith(id: string, after: CompiledPillar): Promise<readonly VolumeAtRisk[]> {
    const entries = this.#provisioned(id);
    if (entries.length === 0) return [];
    const declared = readVolumes(after.pillar);
    const before = await this.#compiled(id);
    const found = await Promise.all(
      entries.map(async (entry) => {
        const path = declared.filter(({ name }) => name === entry.volume).map(keyPathOf)[0];
        const first = `latchkey volume unprovision ${nameOf(entry)}`;
        if (path === undefined) return atRisk(entry, "the pillar would not declare it with a key any more", first);
        if (!after.secrets.has(path)) return atRisk(entry, `the pillar would not name its key "${path}"`, first);
        if (typeof before !== "string" && (await this.#isSame(id, before, entry.keyPath, after, path)))
          return undefined;
        const why = await this.#whyUnproven(entry, after, path);
        if (why === undefined || isKnownBad(entry)) return undefined;
        return atRisk(entry, why, `latchkey volume rotate ${nameOf(entry)}`);
      }),
    );
    return found.filter((risk) => risk !== undefined);
  }

  /** Provisioned volumes of hosts that could lease nothing any more. */
  orphaned(ids: readonly string[]): readonly VolumeAtRisk[] {
    return ids
      .flatMap((id) => this.#provisioned(id))
      .map((entry) =>
        atRisk(entry, "without its minion key the host can lease none", `latchkey volume unprovision ${nameOf(entry)}`),
      );
  }

  /**
   * To be called before a rotation makes a version current: it must be stored and open. Throws HostError `key-not-kept`. There
   * is no force: the version before stays current and keeps its keyslot, so refusing loses nothing, and going on kills a slot
   * that opens for one that no stored key would.
   */
  async assertRotationMayCommit(rotation: RotationToCommit): Promise<void> {
    const { id, volume, path, to } = rotation;
    using value = await this.#stored(id, path, to);
    if (value !== undefined) return;
    throw new HostError(
      "key-not-kept",
      `cannot make version ${to} the key of volume ${id}/${volume}: it is not stored, or does not decrypt`,
      {
        hint: "the version before stays the key, and its keyslot; look at the disk that holds the master's state_dir",
        facts: { id, volume, version: to },
      },
    );
  }

  /**
   * Refuses an act that leaves volumes without a verified copy of their key: throws HostError `key-not-kept`. With `force`
   * it lets it pass as soon as an audit record says what was skipped, and why it would have been refused.
   */
  async settle(risks: readonly VolumeAtRisk[], { what, force, by = ROOT }: GuardedAct): Promise<void> {
    if (risks.length === 0) return;
    if (!force) throw notKept(risks);
    for (const id of new Set(risks.map((risk) => risk.id))) {
      const volumes = risks.filter((risk) => risk.id === id).map(({ volume, why }) => ({ volume, why }));
      await this.#options.record({ kind: "guard-forced", ...by, subject: id, data: { what, volumes } });
    }
  }

  #provisioned(id: string): readonly VolumeEntry[] {
    return this.#options.volumes.list(id).filter(isProvisioned);
  }

  /** A host's pillar, or why it does not compile. */
  async #compiled(id: string): Promise<CompiledPillar | string> {
    try {
      return await this.#options.compile(id);
    } catch (error) {
      if (error instanceof LatchkeyError) return errorMessage(error);
      throw error;
    }
  }

  /** Why the value that this pillar gives at a path is not known to open the volume; undefined when it is. */
  async #whyUnproven({ id, volume, keyPath, proven }: VolumeEntry, pillar: CompiledPillar, path: string) {
    using value = await this.#value(id, pillar, path);
    if (value === undefined) return `there is no stored key "${path}" that decrypts`;
    if (proven.version > 0) {
      using known = await this.#stored(id, keyPath, proven.version);
      if (known !== undefined && equalBytes(known.expose(), value.expose())) return undefined;
    }
    const copy = await this.#options.verifiedCopy?.(id, volume);
    if (copy !== undefined) {
      using known = await this.#stored(id, keyPath, copy.keyVersion);
      if (known !== undefined && equalBytes(known.expose(), value.expose())) return undefined;
    }
    return proven.version === 0 ? "no stored key was ever seen to open it" : "this value was never seen to open it";
  }

  async #isSame(id: string, before: CompiledPillar, pathBefore: string, after: CompiledPillar, path: string) {
    using old = await this.#value(id, before, pathBefore);
    using value = await this.#value(id, after, path);
    return old !== undefined && value !== undefined && equalBytes(old.expose(), value.expose());
  }

  /** What a lease of this path would hand out; undefined when it would be nothing. The caller wipes it. */
  async #value(id: string, { secrets }: CompiledPillar, path: string): Promise<Secret | undefined> {
    const node = secrets.get(path);
    if (node === undefined) return undefined;
    if (node.kind === "secret") return this.#open(node.armored);
    const current = await this.#options.versions.current(id, path);
    return current && this.#open(current.armored);
  }

  async #stored(id: string, path: string, version: number): Promise<Secret | undefined> {
    const found = await this.#options.versions.get(id, path, version);
    return found && this.#open(found.armored);
  }

  #open(armored: string): Secret | undefined {
    try {
      const secret = this.#options.versions.open(armored);
      return secret.length === 0 ? undefined : secret;
    } catch (error) {
      // damaged, or another master's: as good as none
      if (error instanceof LatchkeyError) return undefined;
      throw error;
    }
  }
}

const nameOf = ({ id, volume }: Pick<VolumeEntry, "id" | "volume">) => `${id}/${volume}`;
const rescue = (entry: VolumeEntry) => `latchkey volume rescue ${nameOf(entry)}`;
const atRisk = ({ id, volume }: VolumeEntry, why: string, mend: string): VolumeAtRisk => ({ id, volume, why, mend });

function notKept(risks: readonly VolumeAtRisk[]): HostError {
  const names = risks.map(nameOf).join(", ");
  const which = risks.length === 1 ? `volume ${names}` : `volumes ${names}`;
  const [first] = risks;
  return new HostError(
    "key-not-kept",
    `no verified copy of the key of ${which} would remain: restore the key or use --force to skip this safeguard`,
    {
      hint: `${first?.why ?? ""}; try \`${first?.mend ?? ""}\``,
      facts: { volumes: risks.map(({ id, volume, why, mend }) => ({ id, volume, why, mend })) },
    },
  );
}
