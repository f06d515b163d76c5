import { encryptAge } from "../core/age.ts";
import type { PillarSource, PillarUpdate, PillarUpdated } from "../core/control-api.ts";
import { ConfigError, ProtocolError } from "../core/errors.ts";
import { Lane } from "../core/lane.ts";
import { Secret } from "../core/secret.ts";
import { type CompiledPillar, hostFilePath } from "../pillar/compile.ts";
import {
  planEdit,
  sealEdit,
  type SecretEdit,
  type SecretPlace,
  secretPlaces,
  showSecrets,
} from "../pillar/edit-text.ts";
import { plainKeyMaterial } from "../pillar/plain-key-material.ts";
import { configErrorAt } from "../sls/located-error.ts";
import { readHostFile, replaceHostFile } from "./pillar-edit-file.ts";
import type { Secrets } from "./secrets.ts";

/** What the editor rests on. */
export interface PillarEditorOptions {
  /** The first pillar root: `hosts/` is below it. */
  readonly root: string;
  readonly secrets: Secrets;
  /** Shared with whatever else writes pillar files. */
  readonly lane?: Lane;
  /** Whether ciphertext is shown in place of plain text; see `allow_secret_edit`. */
  readonly hideSecrets?: boolean;
  /** Who can open what is saved, beside the master: `age1…`. */
  readonly recoveryRecipients: readonly string[];
  /** The host's pillar as it would be with this text as its own file; throws ConfigError. */
  readonly compileWith: (id: string, text: string) => Promise<CompiledPillar>;
  /** What the host's states would say to that pillar: one line a mistake, `[]` when all is well. */
  readonly validate: (id: string, pillar: CompiledPillar) => Promise<readonly string[]>;
  /** Whether the host's grains are known. Until they are, mistakes of its states are warnings: they may come from that. */
  readonly grainsKnown: (id: string) => boolean;
  /** Refuses a text that takes the key of a provisioned volume away; what it throws stops that. */
  readonly guard?: (id: string, pillar: CompiledPillar, force: boolean) => Promise<void>;
  /** Keeps, before it happens, that a host's secrets are shown or its file is saved; what it throws stops that. */
  readonly record: (id: string, act: PillarAct) => Promise<void>;
}

/** What is done to a host's pillar file, without a value. */
export interface PillarAct {
  readonly kind: "secret-shown" | "pillar-edited";
  readonly file: string;
  /** Paths of the secrets shown or changed. */
  readonly secrets: readonly string[];
}

/** Reads and writes hosts' own pillar files for `latchkey pillar edit`. */
export interface PillarEditor {
  /**
   * The file's text with every secret in plain text as `!secret "…"`, all else byte for byte; a commented template when
   * there is no file. A secret that is not UTF-8 text, or not encrypted to this master, is left as ciphertext, and so is
   * everything in a file that is not valid YAML. The text is a JavaScript string, which cannot be wiped.
   */
  source(id: string): Promise<PillarSource>;
  /**
   * Saves an edited text. Nothing is written unless the whole pillar then compiles, and the host's states say nothing to it
   * that they did not say before; those mistakes are warnings. Only changed secrets are
   * encrypted anew; a value that leaves the file is kept in the store first (I3). Throws ConfigError `pillar-changed` when
   * the file is not the one of `revision` any more (409), any other ConfigError for a mistake in the text, with `file` and
   * `line` in its facts where there is one (422).
   */
  update(id: string, update: PillarUpdate): Promise<PillarUpdated>;
}

/** More mistakes than this are counted, not shown. */
const MAX_MISTAKES = 20;

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The editor over one pillar root. */
export function createPillarEditor(options: PillarEditorOptions): PillarEditor {
  const { root, secrets } = options;
  const lane = options.lane ?? new Lane();

  function openText(armored: string): string | undefined {
    if (options.hideSecrets === true) return undefined;
    try {
      using secret = secrets.open(armored);
      return UTF8.decode(secret.expose());
    } catch (error) {
      // other errors mean: not ours to open, or not text
      if (error instanceof TypeError || error instanceof ProtocolError) return undefined;
      throw error;
    }
  }

  async function update(id: string, { revision, text, force = false }: PillarUpdate): Promise<PillarUpdated> {
    const file = hostFilePath(id);
    const old = await readHostFile(root, file);
    if (old.revision !== revision) {
      throw new ConfigError("pillar-changed", `cannot save "${file}": it was changed by somebody else meanwhile`, {
        hint: "open it again and make the change in the new text",
        facts: { file },
      });
    }
    const oldText = readable(old.text, file);
    const edits = planEdit(oldText, text, file, openText);
    assertOpenable(text, file, edits);
    const sealed = await sealChanged(text, file, edits);
    if (sealed === old.text) return { changedSecrets: [], warnings: [] };
    const compiled = await options.compileWith(id, sealed);
    const mistakes = await options.validate(id, compiled);
    const isSure = options.grainsKnown(id);
    const before = mistakes.length > 0 && isSure ? await mistakesOf(id, old.text) : new Set<string>();
    const fresh = mistakes.filter((mistake) => !before.has(mistake));
    if (fresh.length > 0 && isSure) {
      throw new ConfigError("pillar-invalid", `cannot save "${file}": ${listed(fresh)}`, {
        facts: { file, errors: fresh },
      });
    }
    await options.guard?.(id, compiled, force);
    const gone = secretPlaces(oldText, file).filter((place) => !edits.some((edit) => keeps(edit, place)));
    const warnings = await keepOldValues(id, gone);
    const changed = edits.filter(({ kind }) => kind !== "kept").map(({ path }) => path);
    const changedSecrets = [...new Set([...changed, ...gone.map(({ path }) => path)])].sort();
    await options.record(id, { kind: "pillar-edited", file, secrets: changedSecrets });
    await replaceHostFile(root, file, sealed);
    return {
      changedSecrets,
      warnings: [...warnings, ...adviceOn(sealed, file, edits), ...atMost(mistakes).map(isSure ? unrelated : unproven)],
    };
  }

  /** What the host's states say to the file as it stands: no edit is to blame for that, and none is held up by it. */
  async function mistakesOf(id: string, text: string): Promise<ReadonlySet<string>> {
    try {
      return new Set(await options.validate(id, await options.compileWith(id, text)));
    } catch (error) {
      if (error instanceof ConfigError) return new Set();
      throw error;
    }
  }

  function assertOpenable(text: string, file: string, edits: readonly SecretEdit[]): void {
    const sealed = edits.filter((edit) => edit.kind === "sealed");
    for (const { path, armored } of sealed) {
      try {
        secrets.open(armored).wipe();
      } catch (cause) {
        const line = secretPlaces(text, file).find((place) => place.path === path)?.line ?? 1;
        const why = "the master cannot open this ciphertext";
        throw configErrorAt("bad-pillar", `cannot save the secret "${path}": ${why}`, { file, line }, "", {
          cause,
          hint: `encrypt it with: age -a -r ${secrets.recipient}`,
        });
      }
    }
  }

  async function sealChanged(text: string, file: string, edits: readonly SecretEdit[]): Promise<string> {
    const recipients = [secrets.recipient, ...options.recoveryRecipients];
    const armored = new Map<SecretEdit, string>();
    for (const edit of edits) {
      if (edit.kind !== "changed") continue;
      using plain = Secret.take(Buffer.from(edit.plain));
      armored.set(edit, await encryptAge(plain, recipients));
    }
    return sealEdit(text, file, edits, (edit) => armored.get(edit) ?? "");
  }

  /** Puts values that leave the file into the store, and warns where a host has had them. */
  async function keepOldValues(id: string, gone: readonly SecretPlace[]): Promise<readonly string[]> {
    const warnings: string[] = [];
    for (const { path, value } of gone) {
      const leased = (await secrets.history(id, path)).length > 0;
      try {
        using secret = secrets.open(value);
        if (secret.length === 0) continue;
        const { version } = await secrets.escrow(id, path, secret);
        if (leased) {
          warnings.push(
            `"${path}" has been leased: a volume formatted with its old value opens with that value alone (kept as version ${version})`,
          );
        }
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        warnings.push(`the old value of "${path}" could not be opened and is not kept: ${error.message}`);
      }
    }
    return warnings;
  }

  return {
    source: async (id) => {
      const path = hostFilePath(id);
      const { text, revision } = await readHostFile(root, path);
      if (revision === "") return { path, revision, text: templateFor(id) };
      if (readable(text, path) === "") return { path, revision, text };
      const shown = secretPlaces(text, path).map((place) => place.path);
      if (shown.length > 0) await options.record(id, { kind: "secret-shown", file: path, secrets: shown });
      return { path, revision, text: showSecrets(text, path, openText) };
    },
    update: async (id, change) => lane.run(async () => update(id, change)),
  };
}

/** The text if it is valid YAML, else "": an operator must be able to mend a broken file with the editor. */
function readable(text: string, file: string): string {
  try {
    secretPlaces(text, file);
    return text;
  } catch (error) {
    if (error instanceof ConfigError) return "";
    throw error;
  }
}

function keeps(edit: SecretEdit, place: SecretPlace): boolean {
  return edit.kind === "kept" && edit.path === place.path && edit.old.value === place.value;
}

function adviceOn(text: string, file: string, edits: readonly SecretEdit[]): readonly string[] {
  const newline = edits.filter((edit) => edit.kind === "changed" && edit.plain.endsWith("\n"));
  return [
    ...newline.map(
      ({ path }) => `"${path}" ends with a line break, which is part of the key; write |- for a block without`,
    ),
    ...plainKeyMaterial(text, file).map(
      ({ path }) => `"${path}" is stored in plain text; write !secret before the value`,
    ),
  ];
}

function unproven(mistake: string): string {
  return `the host was never seen, so its grains are not known; its states say: ${mistake}`;
}

function unrelated(mistake: string): string {
  return `saved, but the host's states were broken before this edit and are: ${mistake}`;
}

/** The first of them, and how many more there are. */
function atMost(mistakes: readonly string[]): readonly string[] {
  const rest = mistakes.length - MAX_MISTAKES;
  return rest > 0 ? [...mistakes.slice(0, MAX_MISTAKES), `${rest} more`] : mistakes;
}

/** One mistake as it is, several below each other. */
function listed(mistakes: readonly string[]): string {
  const [only = ""] = mistakes;
  return mistakes.length === 1 ? only : `${mistakes.length} mistakes\n  ${atMost(mistakes).join("\n  ")}`;
}

function templateFor(id: string): string {
  return `# The pillar of ${id} alone, merged last: it wins over what top.sls gives the host.
# Plain YAML, not rendered. A value after !secret is plain text here and encrypted in the file;
# its bytes are the key exactly as YAML reads them (no line break unless you write one).
# !generate lets the master make a random key at first use.
#
# password: !generate
# vg_name: data
# mountpoint: /srv/data
# dev_name: /dev/vdb
`;
}
