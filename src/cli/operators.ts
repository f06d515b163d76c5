import { mkdir, open, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { ConfigError, HostError } from "../core/errors.ts";
import { makeOperatorKey, publicKeyLine, readPublicKeyLine } from "../core/operator-key.ts";
import type { OperatorList, OperatorRequest } from "../core/release-api.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { tableText, timeText } from "./format/table.ts";
import { defaultKeyFile } from "./operator-signature.ts";
import { documentText, type OutputFormat } from "./output.ts";
import { askPassphrase } from "./passphrase.ts";

async function create(path: string, text: string, mode: number): Promise<void> {
  try {
    // never over another key: `wx` fails when the name is taken
    await using handle = await open(path, "wx", mode);
    await handle.writeFile(text);
    await handle.sync();
  } catch (cause) {
    const taken = cause instanceof Error && "code" in cause && cause.code === "EEXIST";
    throw new HostError("write-failed", `cannot write "${path}"${taken ? ": there is such a file already" : ""}`, {
      cause,
    });
  }
}

/** `operator keygen`: a new key pair; the private half under a passphrase, the public half beside it. */
export async function generateOperatorKey(
  options: { readonly out: string | undefined; readonly passphraseFd: string | undefined },
  context: Context,
): Promise<number> {
  const path = options.out ?? defaultKeyFile(context.terminal.env);
  using passphrase = await askPassphrase("new passphrase", { fd: options.passphraseFd, isNew: true }, context);
  const { text, publicKey } = await makeOperatorKey(passphrase);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await create(path, text, 0o600);
  await create(`${path}.pub`, publicKeyLine(publicKey, ""), 0o644);
  context.terminal.print(
    `wrote ${path} and ${path}.pub; on the master: latchkey operator add NAME --key ${path}.pub\n`,
  );
  return 0;
}

/** `operator list`. */
export async function listOperators(format: OutputFormat, context: Context): Promise<number> {
  const { client, terminal, paint } = context;
  const { operators } = await client.request<OperatorList>("GET", "/v1/operators");
  if (format !== "text") {
    terminal.print(documentText({ operators: operators.map((one) => ({ ...one })) }, format, paint));
  } else if (operators.length === 0) terminal.print("no operators: root approves alone\n");
  else {
    const rows = operators.map(({ name, publicKey, addedAt }) => [
      { text: name },
      { text: publicKey },
      { text: timeText(addedAt) },
    ]);
    terminal.print(tableText(["NAME", "PUBLIC KEY", "ADDED"], rows, paint));
  }
  return 0;
}

/** `operator add <name> --key <file>`. */
export async function addOperator(name: string, key: string | undefined, context: Context): Promise<number> {
  const path = key ?? `${defaultKeyFile(context.terminal.env)}.pub`;
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new ConfigError("bad-operator-key", `cannot read the public key "${path}"`, {
      cause,
      hint: "name it with --key",
    });
  }
  const request: OperatorRequest = { action: "add", name, publicKey: readPublicKeyLine(text) };
  await context.client.request<OperatorList>("POST", "/v1/operators", request);
  context.terminal.print(`added operator ${sanitiseLine(name)}\n`);
  return 0;
}

/** `operator remove <name>`. */
export async function removeOperator(name: string, context: Context): Promise<number> {
  const request: OperatorRequest = { action: "remove", name };
  const { operators } = await context.client.request<OperatorList>("POST", "/v1/operators", request);
  context.terminal.print(`removed operator ${sanitiseLine(name)}; approvals that were not used yet are void\n`);
  if (operators.length === 0) context.terminal.warn("there are no operators any more: root approves alone\n");
  return 0;
}
