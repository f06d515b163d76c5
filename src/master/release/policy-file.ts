import { type BigIntStats, statSync } from "node:fs";
import { open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { sha256 } from "../../core/crypto/hash.ts";
import { ConfigError, errorMessage } from "../../core/errors.ts";
import type { Json } from "../../core/json.ts";
import { parseYamlDocument } from "../../sls/yaml.ts";
import { compilePolicy, type ReleasePolicy } from "../policy/rules.ts";

/** What the release policy's file comes to right now. */
export type LoadedPolicy =
  /** There is no file, and there never was one. */
  | { readonly kind: "none"; readonly hash: "" }
  | { readonly kind: "policy"; readonly hash: string; readonly policy: ReleasePolicy }
  /** Nothing may be released: the file is wrong, cannot be read, or is gone. */
  | { readonly kind: "broken"; readonly hash: string; readonly problem: string };

const NONE: LoadedPolicy = { kind: "none", hash: "" };
const MAX_BYTES = 1024 * 1024;

/** Compiles the text of a release policy. Throws ConfigError that names file, line and place. */
export function readPolicy(text: string, file: string): ReleasePolicy {
  const document = parseYamlDocument(text, file);
  try {
    return compilePolicy(document.value ?? {});
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    const { hint, facts } = cause;
    const line = lineOfPlace(document, typeof facts["path"] === "string" ? facts["path"] : "");
    throw new ConfigError(cause.code, `${cause.message} (${file}:${line})`, {
      cause,
      facts: { ...facts, file, line },
      ...(hint === undefined ? {} : { hint }),
    });
  }
}

function lineOfPlace(document: ReturnType<typeof parseYamlDocument>, place: string): number {
  let line = 1;
  let at: Json | undefined = document.value;
  for (const step of place === "" ? [] : place.split(".")) {
    if (at === null || typeof at !== "object") break;
    line = document.lineOf(at, Array.isArray(at) ? Number(step) : step);
    at = Array.isArray(at) ? at[Number(step)] : (at as Readonly<Record<string, Json>>)[step];
  }
  return line;
}

const stampOf = ({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats) => [dev, ino, size, mtimeNs, ctimeNs].join(":");
const isMissing = (error: unknown) => error instanceof Error && "code" in error && error.code === "ENOENT";

/** What a policy file needs. */
export interface PolicyFileOptions {
  readonly path: string;
  /** Whether a policy was ever in force: a file that is gone then means that nothing is released, not everything. */
  readonly wasInForce: boolean;
  /** Called with each change of what is in force, before it decides anything; what it throws means that nothing is
   * released. */
  readonly changed: (loaded: LoadedPolicy) => Promise<void>;
}

/** The release policy's file, read again when it changes: one `stat` a decision. */
export class PolicyFile {
  readonly path: string;
  readonly #changed: PolicyFileOptions["changed"];
  #inForce: boolean;
  #stamp: string | undefined;
  #loaded: LoadedPolicy = NONE;
  #loading: Promise<LoadedPolicy> | undefined;
  #lastRead: ReleasePolicy | undefined;

  constructor({ path, wasInForce, changed }: PolicyFileOptions) {
    this.path = path;
    this.#changed = changed;
    this.#inForce = wasInForce;
  }

  /** What is in force now. Never throws: what cannot be read is broken. */
  async current(): Promise<LoadedPolicy> {
    const stamp = await this.#look();
    if (stamp === this.#stamp) return this.#loaded;
    this.#loading ??= this.#load().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  /**
   * Whether pushes must be signed. While the file cannot be used, what it last said; where this master never read one that
   * could be, they must: it may have said so.
   */
  async signedPushes(): Promise<boolean> {
    const loaded = await this.current();
    if (loaded.kind === "none") return false;
    return (loaded.kind === "policy" ? loaded.policy : this.#lastRead)?.signedPushes ?? true;
  }

  /** Forgets that a policy was ever in force. Does nothing while the file is there. */
  forget(): void {
    this.#inForce = false;
    this.#stamp = undefined;
  }

  async #look(): Promise<string> {
    try {
      // at once: handing a stat to another thread takes ten times as long as the stat
      const found = statSync(this.path, { bigint: true, throwIfNoEntry: false });
      if (found) return stampOf(found);
      // nothing of this name in a directory that is there
      if (statSync(dirname(this.path), { throwIfNoEntry: false })?.isDirectory()) return "missing";
      // says whether it is missing, or something on the way to it is no directory
      return stampOf(await stat(this.path, { bigint: true }));
    } catch (error) {
      return isMissing(error) ? "missing" : `unreadable: ${errorMessage(error)}`;
    }
  }

  async #load(): Promise<LoadedPolicy> {
    const stamp = await this.#look();
    const loaded = stamp === "missing" ? this.#gone() : await this.#read();
    if (loaded.kind !== "none") this.#inForce = true;
    const before = this.#loaded;
    if (this.#stamp === undefined || before.kind !== loaded.kind || before.hash !== loaded.hash) {
      try {
        await this.#changed(loaded);
      } catch (error) {
        // tried again with the next decision
        const problem = `the change of the release policy cannot be recorded: ${errorMessage(error)}`;
        return { kind: "broken", hash: loaded.hash, problem };
      }
    }
    this.#loaded = loaded;
    this.#stamp = stamp;
    if (loaded.kind === "policy") this.#lastRead = loaded.policy;
    return loaded;
  }

  #gone(): LoadedPolicy {
    if (!this.#inForce) return NONE;
    const problem = `the release policy "${this.path}" is gone`;
    return { kind: "broken", hash: "", problem };
  }

  async #read(): Promise<LoadedPolicy> {
    let hash = "";
    try {
      await using handle = await open(this.path, "r");
      const facts = await handle.stat();
      if (!facts.isFile()) throw new ConfigError("bad-release-policy", `"${this.path}" is no regular file`);
      if (facts.size > MAX_BYTES) throw new ConfigError("bad-release-policy", `"${this.path}" is over 1 MiB`);
      const bytes = await handle.readFile();
      hash = sha256(bytes).toString("hex");
      return { kind: "policy", hash, policy: readPolicy(bytes.toString("utf8"), this.path) };
    } catch (error) {
      return { kind: "broken", hash, problem: errorMessage(error) };
    }
  }
}
