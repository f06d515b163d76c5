import { assertAgeRecipient } from "../core/age-identity.ts";
import { encryptAge, MAX_SECRET_BYTES } from "../core/age.ts";
import { recipientSetId } from "../core/age-recipients.ts";
import { equalBytes } from "../core/crypto/hash.ts";
import { ConfigError } from "../core/errors.ts";
import type { Secret } from "../core/secret.ts";
import type { RecipientList, SecretChanged, SecretSet } from "../core/secrets-api.ts";
import type { Context } from "./context.ts";
import { recipientsText } from "./format/recipients.ts";
import { sanitiseLine } from "./format/sanitise.ts";

const NEWLINE = 0x0a;

/** What `secret set` was told. */
export interface SetRequest {
  readonly id: string;
  readonly path: string;
  readonly stdin: boolean;
  /** Skip the safeguard of volumes. */
  readonly force: boolean;
}

/**
 * `secret set <host> <path>`: encrypts the value here, to the recipients that the master names, so that it never reaches the
 * master in plain. Neither end opens anything.
 */
export async function setSecret({ id, path, stdin, force }: SetRequest, context: Context): Promise<number> {
  const { terminal, client } = context;
  if (!stdin && !terminal.interactive) {
    throw new ConfigError("no-value", "cannot ask for the value: there is no terminal", {
      hint: "add --stdin to read it from standard input",
    });
  }
  const { recipients } = await client.request<RecipientList>("GET", "/v1/recipients");
  using value = stdin ? await terminal.readAll(MAX_SECRET_BYTES) : await typed(path, context);
  if (value.length === 0) throw new ConfigError("empty-secret", `cannot set "${path}": the value is empty`);
  if (value.expose().at(-1) === NEWLINE) {
    terminal.warn("warning: the value ends with a line break, which is part of the key\n");
  }
  const armored = await encryptAge(value, recipients.map(assertAgeRecipient));
  const body: SecretSet = { path, armored, set: recipientSetId(recipients), ...(force ? { force } : {}) };
  const url = `/v1/secrets/${encodeURIComponent(id)}`;
  const { file, warnings } = await client.request<SecretChanged>("PUT", url, body);
  terminal.print(`${sanitiseLine(`set "${path}" of ${id} in ${file}, for ${recipientsText(recipients.length)}`)}\n`);
  for (const warning of warnings) terminal.warn(`warning: ${sanitiseLine(warning)}\n`);
  return 0;
}

async function typed(path: string, { terminal, signal }: Context): Promise<Secret> {
  const first = await terminal.askHidden(`value of "${sanitiseLine(path)}": `, signal);
  using second = await terminal.askHidden("once more: ", signal);
  if (equalBytes(first.expose(), second.expose())) return first;
  first.wipe();
  throw new ConfigError("not-the-same", `cannot set "${path}": the two values differ`);
}
