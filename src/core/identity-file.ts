import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, link, mkdir, open, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { equalBytes, sha256 } from "./crypto/hash.ts";
import { ConfigError } from "./errors.ts";
import { generateIdentitySecret, type Identity, IDENTITY_SECRET_BYTES, identityFromSecret } from "./identity.ts";
import { Secret } from "./secret.ts";

/** The file: this line, the 64 private bytes, SHA-256 of all before. */
const MAGIC = Buffer.from("latchkey identity v1\n", "latin1");
const FILE_BYTES = MAGIC.length + IDENTITY_SECRET_BYTES + 32;

/**
 * The identity kept in a file, made on first use: mode 0600 from its first byte, on disk before it is used, and one
 * winner when two processes start at once. Throws ConfigError `identity-permissions` when others may read the file,
 * `identity-damaged` when it is not whole.
 */
export async function loadOrCreateIdentity(path: string): Promise<Identity> {
  const known = await loadIdentity(path);
  if (known) return known;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  using secret = generateIdentitySecret();
  await createFile(path, secret);
  const made = await loadIdentity(path);
  if (made) return made;
  throw new ConfigError("identity-damaged", `cannot read identity "${path}": it vanished after it was written`);
}

/** The identity kept in a file, undefined when there is none. Throws as `loadOrCreateIdentity` does. */
export async function loadIdentity(path: string): Promise<Identity | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new ConfigError("identity-unreadable", `cannot read identity "${path}": ${String(codeOf(error))}`, {
      cause: error,
    });
  }
  try {
    await assertPrivate(path, file);
    const bytes = Buffer.allocUnsafeSlow(FILE_BYTES + 1);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    using secret = parse(path, bytes.subarray(0, bytesRead));
    bytes.fill(0);
    return identityFromSecret(secret);
  } finally {
    await file.close();
  }
}

async function assertPrivate(path: string, file: FileHandle): Promise<void> {
  const stat = await file.stat();
  if (!stat.isFile()) throw new ConfigError("identity-damaged", `cannot use identity "${path}": it is no regular file`);
  const mine = stat.uid === process.geteuid?.();
  if ((stat.mode & 0o077) !== 0 || !mine) {
    const mode = (stat.mode & 0o7777).toString(8).padStart(4, "0");
    throw new ConfigError(
      "identity-permissions",
      `cannot use identity "${path}": ${mine ? `mode ${mode} lets others at it` : "it belongs to another user"}`,
      { hint: `if nobody can have read it: chmod 600 "${path}"; otherwise remove it and accept the new key` },
    );
  }
}

function parse(path: string, bytes: Buffer): Secret {
  const body = bytes.subarray(0, MAGIC.length + IDENTITY_SECRET_BYTES);
  if (
    bytes.length !== FILE_BYTES ||
    !body.subarray(0, MAGIC.length).equals(MAGIC) ||
    !equalBytes(sha256(body), bytes.subarray(body.length))
  ) {
    throw new ConfigError("identity-damaged", `cannot use identity "${path}": the file is damaged`, {
      hint: "restore it from a backup, or remove it to become a new identity",
    });
  }
  return Secret.take(body.subarray(MAGIC.length));
}

/** Written whole beside its place, synced, then linked there: a link fails when the name exists, so one writer wins. */
async function createFile(path: string, secret: Secret): Promise<void> {
  const temporary = `${path}.${randomBytes(8).toString("hex")}.new`;
  const body = Buffer.concat([MAGIC, secret.expose()]);
  const bytes = Buffer.concat([body, sha256(body)]);
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    try {
      await link(temporary, path);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
  } finally {
    body.fill(0);
    bytes.fill(0);
    await unlink(temporary).catch((error: unknown) => {
      if (codeOf(error) !== "ENOENT") throw error;
    });
  }
  const directory = await open(dirname(path), constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
