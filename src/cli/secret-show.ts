import { ConfigError } from "../core/errors.ts";
import { Secret } from "../core/secret.ts";
import type { SecretShow, SecretShown } from "../core/secrets-api.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";

/** What `secret show` was told. */
export interface ShowRequest {
  readonly id: string;
  readonly path: string;
  readonly version: number | undefined;
  readonly base64: boolean;
  /** Do not ask. */
  readonly yes: boolean;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Whether the bytes are text that a terminal shows as it is and that cannot steer it. */
function isPlainText(bytes: Uint8Array): boolean {
  try {
    return !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(UTF8.decode(bytes));
  } catch {
    return false;
  }
}

/**
 * `secret show <host> <path>`: the exact bytes on standard output; on a terminal text with a line break, and anything else
 * as base64. Status 1 when told no.
 */
export async function showSecret(request: ShowRequest, context: Context): Promise<number> {
  const { terminal, client, signal } = context;
  const { id, path, version, base64, yes } = request;
  if (!yes && !(await confirmed(`show "${sanitiseLine(path)}" of ${sanitiseLine(id)} in plain?`, context))) {
    terminal.warn("nothing shown\n");
    return 1;
  }
  signal.throwIfAborted();
  const body: SecretShow = { path, version };
  const { value } = await client.request<SecretShown>("POST", `/v1/secrets/${encodeURIComponent(id)}/show`, body);
  using secret = Secret.take(Buffer.from(value, "base64"));
  if (base64) terminal.print(`${value}\n`);
  else if (!terminal.outIsTerminal) terminal.printBytes(Buffer.from(secret.expose()));
  else if (isPlainText(secret.expose())) terminal.print(`${UTF8.decode(secret.expose())}\n`);
  else {
    terminal.warn("not plain text, shown as base64\n");
    terminal.print(`${value}\n`);
  }
  return 0;
}

async function confirmed(question: string, { terminal, signal }: Context): Promise<boolean> {
  if (!terminal.interactive) {
    throw new ConfigError("not-confirmed", `cannot ask to ${question.replace(/\?$/u, "")}: there is no terminal`, {
      hint: "add --yes to act without a question",
    });
  }
  return /^y(?:es)?$/iu.test(await terminal.ask(`${question} [y/N] `, signal));
}
