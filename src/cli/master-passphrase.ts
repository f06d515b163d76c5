import { createReadStream, existsSync } from "node:fs";
import { join } from "node:path";
import { equalBytes } from "../core/crypto/hash.ts";
import { ConfigError } from "../core/errors.ts";
import { Secret } from "../core/secret.ts";
import { readAllSecret } from "./hidden-input.ts";
import type { AskPassphrase } from "./rooms.ts";
import type { Terminal } from "./terminal.ts";

const CREDENTIAL = "latchkey-passphrase";
const MAX_BYTES = 1024;
/** Fewer are guessed, whatever the scrypt. */
const MIN_BYTES = 8;
const NEWLINE = 0x0a;

/** The file that systemd keeps the credential in (systemd.exec(5), LoadCredential=); undefined when there is none. */
function credentialFile({ env }: Terminal): string | undefined {
  const directory = env["CREDENTIALS_DIRECTORY"];
  const file = directory === undefined ? undefined : join(directory, CREDENTIAL);
  return file !== undefined && existsSync(file) ? file : undefined;
}

/** All that a file or descriptor holds, without a line break at its end. */
async function readPassphrase(from: { readonly fd: number } | { readonly file: string }): Promise<Secret> {
  const what = "fd" in from ? `file descriptor ${from.fd}` : `"${from.file}"`;
  const stream = "fd" in from ? createReadStream("", { fd: from.fd }) : createReadStream(from.file);
  let whole: Secret;
  try {
    whole = await readAllSecret(stream as AsyncIterable<Buffer>, MAX_BYTES);
  } catch (cause) {
    throw new ConfigError("no-passphrase", `cannot read the passphrase from ${what}`, { cause });
  }
  using secret = whole;
  const bytes = secret.expose();
  const passphrase = Secret.take(Buffer.from(bytes.subarray(0, bytes.at(-1) === NEWLINE ? -1 : bytes.length)));
  if (passphrase.length > 0) return passphrase;
  throw new ConfigError("no-passphrase", `cannot use an empty passphrase from ${what}`);
}

function descriptor(text: string): number {
  if (/^\d{1,4}$/u.test(text)) return Number(text);
  throw new ConfigError("bad-usage", `cannot use "${text}" as a file descriptor: write a number`);
}

/**
 * Where the passphrase of the master's age identity comes from: the descriptor, else systemd's credential, else the
 * terminal. Throws ConfigError `no-passphrase` with the message `without` when asked with none of them there.
 */
export function passphraseFrom(
  fd: string | undefined,
  terminal: Terminal,
  signal: AbortSignal,
  without = "cannot open the age identity: it has a passphrase, and none was given",
): AskPassphrase {
  return async () => {
    if (fd !== undefined) return readPassphrase({ fd: descriptor(fd) });
    const file = credentialFile(terminal);
    if (file !== undefined) return readPassphrase({ file });
    if (terminal.interactive) return terminal.askHidden("passphrase of the age identity: ", signal);
    throw new ConfigError("no-passphrase", without, {
      hint: `use --passphrase-fd, a systemd credential "${CREDENTIAL}", or a terminal`,
    });
  };
}

/** A new passphrase, of at least 8 bytes; on a terminal it is asked for twice. Throws ConfigError `weak-passphrase`. */
export function newPassphraseFrom(fd: string | undefined, terminal: Terminal, signal: AbortSignal): AskPassphrase {
  return async () => {
    const first = await passphraseFrom(
      fd,
      terminal,
      signal,
      "cannot protect the age identity: no passphrase was given",
    )();
    try {
      if (first.length < MIN_BYTES) {
        throw new ConfigError("weak-passphrase", `cannot use this passphrase: fewer than ${MIN_BYTES} bytes`);
      }
      if (fd !== undefined || credentialFile(terminal) !== undefined) return first;
      using second = await terminal.askHidden("once more: ", signal);
      if (equalBytes(first.expose(), second.expose())) return first;
      throw new ConfigError("not-the-same", "cannot use this passphrase: the two differ");
    } catch (error) {
      first.wipe();
      throw error;
    }
  };
}
