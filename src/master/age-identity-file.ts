import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { type AgeIdentity, generateAgeIdentityFile, newestOfFile, parseAgeIdentityFile } from "../core/age-identity.ts";
import { decryptWithPassphrase, encryptWithPassphrase, isAgeFile } from "../core/age-passphrase.ts";
import type { Clock } from "../core/clock.ts";
import { equalBytes } from "../core/crypto/hash.ts";
import { ConfigError, HostError } from "../core/errors.ts";
import { Secret } from "../core/secret.ts";
import {
  changingIdentity,
  createContent,
  leftovers,
  type ReachedFile,
  readContent,
  replaceContent,
} from "./identity-content.ts";
import { SECRETS_PREFIX } from "./secret-version.ts";
import type { Store } from "./store/store.ts";

/** The age identity's name in the state directory. */
export const AGE_IDENTITY_FILE = "age.key";

/** Where the passphrase comes from; asked only for an identity that has one. The caller wipes what it gets. */
export type AskPassphrase = () => Promise<Secret>;

/** How a change of the file may be watched by tests. */
export interface IdentityChange {
  readonly reached?: ReachedFile | undefined;
  /** Base-2 logarithm of scrypt's cost. */
  readonly workFactor?: number | undefined;
}

/**
 * The master's age identity, in the file that `age-keygen` would write (`age -d -i` takes it), made at first start: mode
 * 0600 from its first byte, synced before it is used, and one winner when two start at once. A store that holds secrets
 * already is never given a new identity. A file that is encrypted to a passphrase (`age -p`) is opened with what
 * `passphrase` gives. Throws ConfigError `identity-missing`, `identity-permissions`, `identity-locked`, `wrong-passphrase`,
 * `bad-age-identity`.
 */
export async function loadAgeIdentity(
  path: string,
  store: Store,
  clock: Clock,
  passphrase?: AskPassphrase,
): Promise<AgeIdentity> {
  const known = await readIdentity(path, passphrase);
  if (known) {
    // contents that somebody who was killed left beside the file
    if ((await leftovers(path)).length > 0) await changingIdentity(path, async () => {});
    return known;
  }
  if ((await store.list(SECRETS_PREFIX, { limit: 1 })).length > 0) {
    throw new ConfigError("identity-missing", `cannot open the stored secrets: age identity "${path}" is missing`, {
      hint: "restore the file from a backup, or open the secrets with a recovery identity",
      facts: { file: path },
    });
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  using file = generateAgeIdentityFile(new Date(clock.now()).toISOString());
  await changingIdentity(path, async () => createContent(path, file));
  const made = await readIdentity(path, undefined);
  if (made) return made;
  throw new HostError("identity-missing", `cannot read age identity "${path}": it vanished after it was written`);
}

async function readIdentity(path: string, passphrase: AskPassphrase | undefined): Promise<AgeIdentity | undefined> {
  using content = await readContent(path);
  if (content === undefined) return undefined;
  using opened = await openContent(path, content, passphrase);
  return parseAgeIdentityFile(opened, path);
}

/** What the file says in plain, a copy of the caller's own. */
async function openContent(path: string, content: Secret, passphrase: AskPassphrase | undefined): Promise<Secret> {
  if (!isAgeFile(content.expose())) return Secret.take(Buffer.from(content.expose()));
  if (!passphrase) {
    throw new ConfigError("identity-locked", `cannot open age identity "${path}": it is protected by a passphrase`);
  }
  using word = await passphrase();
  return decryptWithPassphrase(content.expose(), word);
}

async function present(path: string): Promise<Secret> {
  const content = await readContent(path);
  if (content !== undefined) return content;
  throw new ConfigError("identity-missing", `cannot find age identity "${path}"`, {
    hint: "the master makes it at its first start",
  });
}

/** Ciphertext of the content that was opened again and compared. Throws HostError `not-protected`. */
async function seal(path: string, content: Secret, passphrase: Secret, workFactor?: number): Promise<Secret> {
  const sealed = Secret.take(Buffer.from(await encryptWithPassphrase(content, passphrase, workFactor)));
  using opened = await decryptWithPassphrase(sealed.expose(), passphrase);
  if (equalBytes(opened.expose(), content.expose())) return sealed;
  throw new HostError("not-protected", `cannot protect "${path}"`);
}

/** Whether the file has a passphrase. Throws ConfigError `identity-missing`. */
export async function isLocked(path: string): Promise<boolean> {
  using content = await present(path);
  return isAgeFile(content.expose());
}

/**
 * Puts the identity behind a passphrase, as `age -p` would. The new file is opened and compared before it takes the place of
 * the old one, whose bytes are then overwritten as far as the file system lets them be. Returns the recipient, which
 * stays the same. Throws ConfigError `identity-missing`, `identity-protected`.
 */
export async function protectAgeIdentity(
  path: string,
  passphrase: Secret,
  { reached, workFactor }: IdentityChange = {},
): Promise<string> {
  (await present(path)).wipe();
  return changingIdentity(path, async () => {
    using content = await present(path);
    if (isAgeFile(content.expose())) {
      throw new ConfigError("identity-protected", `cannot protect "${path}": it has a passphrase already`, {
        hint: "for another one: `latchkey identity unprotect`, then `protect`",
      });
    }
    const { recipient } = parseAgeIdentityFile(content, path);
    using sealed = await seal(path, content, passphrase, workFactor);
    await replaceContent(path, sealed, reached);
    return recipient;
  });
}

/** Takes the passphrase off again. Returns the recipient. Throws as `loadAgeIdentity`, ConfigError `identity-plain`. */
export async function unprotectAgeIdentity(
  path: string,
  passphrase: AskPassphrase,
  { reached }: IdentityChange = {},
): Promise<string> {
  (await present(path)).wipe();
  return changingIdentity(path, async () => {
    using content = await present(path);
    if (!isAgeFile(content.expose())) {
      throw new ConfigError("identity-plain", `cannot unprotect "${path}": it has no passphrase`);
    }
    using opened = await openContent(path, content, passphrase);
    const { recipient } = parseAgeIdentityFile(opened, path);
    await replaceContent(path, opened, reached);
    return recipient;
  });
}

/**
 * Puts a new identity above the one that is there, in the same file and behind the same passphrase, and reads it back: from
 * then on the file opens what either opens. `announce` is told the new recipient before anything is written. Throws as
 * `loadAgeIdentity`, and ConfigError `identity-changed` when the file is not the one that `known` was read from.
 */
export async function addAgeIdentity(
  path: string,
  known: AgeIdentity,
  { passphrase, announce, created, ...change }: NewIdentity,
): Promise<AgeIdentity> {
  using fresh = generateAgeIdentityFile(created);
  await announce(parseAgeIdentityFile(fresh, path).recipient);
  return await rewriteIdentity(path, known, { passphrase, ...change }, (content) =>
    Secret.take(Buffer.concat([fresh.expose(), content.expose()])),
  );
}

/** What a new identity comes with. */
export interface NewIdentity extends IdentityChange {
  readonly passphrase?: AskPassphrase | undefined;
  readonly announce: (recipient: string) => Promise<void>;
  /** ISO time, for the comment in the file. */
  readonly created: string;
}

/**
 * Leaves only the newest identity in the file; the others are overwritten as far as the file system lets them be. Throws as
 * `addAgeIdentity`.
 */
export async function dropOlderIdentities(
  path: string,
  known: AgeIdentity,
  change: IdentityChange & Pick<NewIdentity, "passphrase">,
): Promise<AgeIdentity> {
  return rewriteIdentity(path, known, change, newestOfFile);
}

async function rewriteIdentity(
  path: string,
  known: AgeIdentity,
  { passphrase, reached, workFactor }: IdentityChange & Pick<NewIdentity, "passphrase">,
  rewritten: (content: Secret) => Secret,
): Promise<AgeIdentity> {
  const recipients = (identity: AgeIdentity) =>
    [identity, ...(identity.older ?? [])].map(({ recipient }) => recipient).join();
  return changingIdentity(path, async () => {
    using stored = await present(path);
    using word = isAgeFile(stored.expose()) ? await passphrase?.() : undefined;
    const ask = word && (async () => Secret.take(Buffer.from(word.expose())));
    using content = await openContent(path, stored, ask);
    if (recipients(parseAgeIdentityFile(content, path)) !== recipients(known)) {
      throw new ConfigError("identity-changed", `cannot change "${path}": it is not what this master started with`, {
        hint: "restart the master, so that it reads the file as it is now",
      });
    }
    using next = rewritten(content);
    using sealed = word && (await seal(path, next, word, workFactor));
    await replaceContent(path, sealed ?? next, reached);
    const back = await readIdentity(path, ask);
    if (back && recipients(back) === recipients(parseAgeIdentityFile(next, path))) return back;
    throw new HostError("identity-not-durable", `cannot rely on "${path}": it does not read back as it was written`);
  });
}
