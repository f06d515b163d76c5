import { readSync } from "node:fs";
import { ConfigError } from "../core/errors.ts";
import { Secret } from "../core/secret.ts";
import type { Context } from "./context.ts";

const MAX_BYTES = 1024;
const MIN_BYTES = 8;

/** Everything that can be read from an open file descriptor, without the line end. */
function readDescriptor(fd: number): Secret {
  const buffer = Buffer.alloc(MAX_BYTES + 1);
  let length = 0;
  try {
    for (;;) {
      const read = readSync(fd, buffer, length, buffer.length - length, null);
      length += read;
      if (read === 0 || length === buffer.length) break;
    }
  } catch (cause) {
    throw new ConfigError("bad-passphrase", `cannot read the passphrase from file descriptor ${fd}`, { cause });
  }
  while (length > 0 && (buffer[length - 1] === 10 || buffer[length - 1] === 13)) length -= 1;
  const secret = Secret.take(buffer.subarray(0, length));
  buffer.fill(0);
  return secret;
}

/**
 * A passphrase: from `fd` where given, else asked on the terminal without showing it, twice when it is new. The caller
 * wipes it. Throws ConfigError `bad-passphrase`.
 */
export async function askPassphrase(
  what: string,
  options: { readonly fd: string | undefined; readonly isNew: boolean },
  { terminal, signal }: Context,
): Promise<Secret> {
  const { fd, isNew } = options;
  if (fd !== undefined && !/^\d{1,4}$/u.test(fd)) {
    throw new ConfigError("bad-passphrase", `cannot read a passphrase from "${fd}": not a file descriptor`);
  }
  if (fd === undefined && !terminal.interactive) {
    throw new ConfigError("bad-passphrase", "cannot ask for a passphrase: there is no terminal", {
      hint: "hand it over with --passphrase-fd, such as --passphrase-fd 3 3<FILE",
    });
  }
  const passphrase = fd === undefined ? await terminal.askHidden(`${what}: `, signal) : readDescriptor(Number(fd));
  if (!isNew) return passphrase;
  if (passphrase.length < MIN_BYTES) {
    passphrase.wipe();
    throw new ConfigError("bad-passphrase", `cannot use this passphrase: it has less than ${MIN_BYTES} characters`);
  }
  if (fd !== undefined) return passphrase;
  using again = await terminal.askHidden(`${what}, once more: `, signal);
  if (again.expose().equals(passphrase.expose())) return passphrase;
  passphrase.wipe();
  throw new ConfigError("bad-passphrase", "cannot use this passphrase: the two are not the same");
}
