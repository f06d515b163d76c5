import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../core/errors.ts";
import { openOperatorKey } from "../core/operator-key.ts";
import { type OperatorStatement, statementBytes } from "../core/operator-statement.ts";
import { askPassphrase } from "./passphrase.ts";
import type { Context } from "./context.ts";
import type { Terminal } from "./terminal.ts";

/** Who signs, and where their key is. */
export interface Signer {
  /** Operator's name; undefined for root, who signs nothing. */
  readonly as: string | undefined;
  readonly key: string | undefined;
  readonly passphraseFd: string | undefined;
}

/** The signature over a statement, hex; undefined for root. */
export type Sign = (statement: OperatorStatement) => string | undefined;

/** Where an operator's key is when nobody says so. */
export function defaultKeyFile(env: Terminal["env"]): string {
  const home = env["XDG_CONFIG_HOME"] ?? join(env["HOME"] ?? "/root", ".config");
  return join(home, "latchkey", "operator.key");
}

/** Opens the key of who signs; asks for its passphrase, once. Throws ConfigError, AuthError. */
export async function openSigner({ as, key, passphraseFd }: Signer, context: Context): Promise<Sign> {
  if (as === undefined) return () => undefined;
  const path = key ?? defaultKeyFile(context.terminal.env);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new ConfigError("bad-operator-key", `cannot read the operator key "${path}"`, {
      cause,
      hint: "name it with --key, or make one with `latchkey operator keygen`",
    });
  }
  using passphrase = await askPassphrase(`passphrase of ${path}`, { fd: passphraseFd, isNew: false }, context);
  const signing = await openOperatorKey(text, passphrase);
  return (statement) => signing.sign(statementBytes(statement)).toString("hex");
}
