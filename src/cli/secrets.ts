import type { SecretEntry, SecretHistory, SecretImport, SecretImported, SecretList } from "../core/secrets-api.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { tableText, timeText } from "./format/table.ts";
import { documentText, type OutputFormat } from "./output.ts";

function rowOf({ id, path, kind, versions, usedBy, file, line }: SecretEntry) {
  const users = usedBy === null ? "?" : usedBy.join(", ") || "-";
  const place = file === "" ? "-" : `${file}:${line}`;
  const colour = kind === "kept" ? ({ colour: "yellow" } as const) : {};
  return [id, path]
    .map((text) => ({ text }))
    .concat([
      { text: kind, ...colour },
      { text: versions === 0 ? "-" : String(versions) },
      { text: place },
      { text: users },
    ]);
}

/** `secret list [host]`. Status 1 when a host's pillar is broken: its secrets are not in the list. */
export async function listSecrets(
  host: string | undefined,
  format: OutputFormat,
  { client, terminal, paint }: Context,
): Promise<number> {
  const query = host === undefined ? "" : `?host=${encodeURIComponent(host)}`;
  const { secrets, broken } = await client.request<SecretList>("GET", `/v1/secrets${query}`);
  if (format !== "text") {
    const document = { secrets: secrets.map((entry) => ({ ...entry })), broken: broken.map((each) => ({ ...each })) };
    terminal.print(documentText(document, format, paint));
  } else if (secrets.length === 0) terminal.print("no secrets\n");
  else terminal.print(tableText(["HOST", "PATH", "KIND", "VERSIONS", "WHERE", "USED BY"], secrets.map(rowOf), paint));
  for (const { id, reason } of broken) terminal.warn(`${sanitiseLine(id)}: ${sanitiseLine(reason)}\n`);
  return broken.length > 0 ? 1 : 0;
}

const urlOf = (id: string, act: string) => `/v1/secrets/${encodeURIComponent(id)}/${act}`;

/** `secret history <host> <path>`. */
export async function showHistory(
  id: string,
  path: string,
  format: OutputFormat,
  { client, terminal, paint }: Context,
): Promise<number> {
  const url = `${urlOf(id, "history")}?path=${encodeURIComponent(path)}`;
  const { versions } = await client.request<SecretHistory>("GET", url);
  if (format !== "text") {
    terminal.print(documentText({ versions: versions.map((version) => ({ ...version })) }, format, paint));
  } else if (versions.length === 0) terminal.print("no stored version yet\n");
  else {
    const rows = versions.map(({ version, origin, createdAt, recipients, current }) => [
      { text: `${version}${current ? " *" : ""}` },
      { text: timeText(createdAt) },
      { text: origin },
      { text: String(recipients) },
    ]);
    terminal.print(tableText(["VERSION", "MADE", "ORIGIN", "RECIPIENTS"], rows, paint));
  }
  return 0;
}

/** `secret import <host> <path>`. */
export async function importSecret(
  { id, path, force }: { readonly id: string; readonly path: string; readonly force: boolean },
  { client, terminal }: Context,
): Promise<number> {
  const body: SecretImport = { path, ...(force ? { force } : {}) };
  const { file, version, warnings } = await client.request<SecretImported>("POST", urlOf(id, "import"), body);
  terminal.print(sanitiseLine(`imported "${path}" of ${id} as version ${version}; ${file} now says !generate`) + "\n");
  for (const warning of warnings) terminal.warn(`warning: ${sanitiseLine(warning)}\n`);
  return 0;
}
