import { AuthError, ConfigError } from "../core/errors.ts";
import type { Secret } from "../core/secret.ts";
import type { LeasePurpose } from "../core/lease-purpose.ts";
import type { CompiledPillar } from "../pillar/compile.ts";
import type { SecretNode } from "../pillar/secret-node.ts";
import type { ResolvedSecret } from "./leases/leases-options.ts";
import { SecretCache } from "./secret-cache.ts";
import type { SecretVersion } from "./secret-version.ts";
import { SecretVersions, type VersionsOptions } from "./secret-versions.ts";

/** The master's secrets. */
export interface Secrets extends Disposable {
  /** The master's own age recipient, for `age -r`. */
  readonly recipient: string;
  /** What the store holds of them. */
  readonly versions: SecretVersions;
  /**
   * The secret that a minion's own compiled pillar names at this path. It is durable in the store, read back and compared, before
   * it is returned (I1). A `!secret` is what the pillar says now; each value that was ever released stays in the store as
   * a version, so that a later edit cannot lose the key of a disk (I3). For `format` that version is opened and compared
   * once more each time.
   *
   * A `version` above 0 asks for that very stored one, which only `rotate` and `check` may: undefined when there is none,
   * AuthError `version-forgotten` for one that was set aside with its volume.
   *
   * A `!generate` is the last value made or imported into the store; it is made for the first `format`; undefined for an `open` before that, which no key can serve.
   *
   * Throws AuthError `not-in-pillar` for any other path, ConfigError `empty-secret` or ProtocolError when the pillar's
   * value cannot be used, HostError when the store cannot keep it: nothing is released then.
   */
  resolveSecret(
    minionId: string,
    pillar: CompiledPillar,
    path: string,
    purpose: LeasePurpose,
    version?: number,
  ): Promise<ResolvedSecret | undefined>;
  /** Every stored version, oldest first, encrypted as stored. */
  history(minionId: string, path: string): Promise<readonly SecretVersion[]>;
  /** Keeps a value that is about to leave the pillar, and tells its version. */
  escrow(minionId: string, path: string, secret: Secret): Promise<SecretVersion>;
  /** Opens armored text for the master itself (editing); the caller wipes it. Throws ProtocolError. */
  open(armored: string): Secret;
}

/** What the secrets rest on. */
export type SecretsOptions = Omit<VersionsOptions, "cache">;

/** The master's secrets over its store and identity; dispose of them to wipe what is in memory. */
export function openSecrets(options: SecretsOptions): Secrets {
  const cache = new SecretCache(options.identity, options.clock);
  const versions = new SecretVersions({ ...options, cache });

  async function resolveNode(
    minionId: string,
    path: string,
    purpose: LeasePurpose,
    node: SecretNode,
  ): Promise<ResolvedSecret | undefined> {
    if (node.kind === "generate") {
      const current = await versions.current(minionId, path);
      if (!current && purpose !== "format") return undefined;
      const { armored, version, origin } = current ?? (await versions.generate(minionId, path));
      return { secret: cache.open(armored), version, generated: origin === "generated" };
    }
    const secret = cache.open(node.armored);
    try {
      if (secret.length === 0) throw emptySecret(path, node);
      const stored = await versions.escrow(minionId, path, secret);
      if (purpose === "format") versions.assertOpens(stored, secret);
      return { secret, version: stored.version, generated: false };
    } catch (error) {
      secret.wipe();
      throw error;
    }
  }

  async function resolveVersion(
    minionId: string,
    path: string,
    purpose: LeasePurpose,
    version: number,
  ): Promise<ResolvedSecret | undefined> {
    if (purpose !== "rotate" && purpose !== "check") {
      throw new AuthError("version-not-for", `cannot release a chosen version of "${path}" to ${purpose}`);
    }
    const stored = await versions.get(minionId, path, version);
    if (!stored) return undefined;
    if (stored.forgotten === true) {
      throw new AuthError(
        "version-forgotten",
        `cannot release version ${version} of "${path}": it was set aside with the volume it was for`,
      );
    }
    return { secret: cache.open(stored.armored), version, generated: stored.origin === "generated" };
  }

  return {
    get recipient() {
      return options.identity.recipient;
    },
    versions,
    resolveSecret: async (minionId, { secrets }, path, purpose, version = 0) => {
      const node = secrets.get(path);
      if (!node) {
        throw new AuthError(
          "not-in-pillar",
          `cannot release "${path}" to "${minionId}": its pillar names no such secret`,
        );
      }
      const resolved = await (version === 0
        ? resolveNode(minionId, path, purpose, node)
        : resolveVersion(minionId, path, purpose, version));
      if (resolved === undefined || resolved.secret.length > 0) return resolved;
      throw emptySecret(path, node);
    },
    history: async (minionId, path) => versions.list(minionId, path),
    escrow: async (minionId, path, secret) => versions.escrow(minionId, path, secret),
    open: (armored) => cache.open(armored),
    [Symbol.dispose]: () => cache[Symbol.dispose](),
  };
}

function emptySecret(path: string, { file, line }: SecretNode): ConfigError {
  return new ConfigError("empty-secret", `cannot release the secret "${path}": it is empty (${file} line ${line})`, {
    facts: { file, line },
  });
}
