import { assertAgeRecipient } from "../core/age-identity.ts";
import { encryptAge } from "../core/age.ts";
import { ConfigError } from "../core/errors.ts";
import type {
  IdentityDropped,
  IdentityFacts,
  IdentityRequest,
  RecipientList,
  RekeyReport,
} from "../core/secrets-api.ts";
import type { Context } from "./context.ts";
import { recipientsText } from "./format/recipients.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { documentText, type OutputFormat } from "./output.ts";
import { askPassphrase } from "./passphrase.ts";

const isYes = (answer: string) => /^y(?:es)?$/iu.test(answer.trim());
const FACTS = "/v1/identity";

/** The passphrase of the identity's file, encrypted to the master; none where the file has none. */
async function identityRequest(
  { locked }: IdentityFacts,
  fd: string | undefined,
  context: Context,
): Promise<IdentityRequest> {
  if (!locked) return {};
  const { recipients } = await context.client.request<RecipientList>("GET", "/v1/recipients");
  using passphrase = await askPassphrase("passphrase of the age identity", { fd, isNew: false }, context);
  return { armored: await encryptAge(passphrase, recipients.slice(0, 1).map(assertAgeRecipient)) };
}

/** `secret rekey --identity`, its first half: a new identity takes the place of the master's own, which is kept. */
export async function renew(fd: string | undefined, context: Context): Promise<void> {
  const { client, terminal } = context;
  const before = await client.request<IdentityFacts>("GET", FACTS);
  if (before.older.length > 0) {
    terminal.warn(`going on with ${sanitiseLine(before.recipient)}, which was made before\n`);
    return;
  }
  const request = await identityRequest(before, fd, context);
  const { recipient, older } = await client.request<IdentityFacts>("POST", FACTS, request);
  terminal.warn(`the master's identity is ${sanitiseLine(recipient)} now\n`);
  terminal.warn(
    `${sanitiseLine(older.join(", "))} is kept until \`latchkey secret rekey --drop-old\`: copies of the store and of the ` +
      "pillar from before need it\n",
  );
}

/** `secret rekey --drop-old`: status 1 when there is nothing to destroy. */
export async function dropOld(
  { yes, fd }: { readonly yes: boolean; readonly fd: string | undefined },
  context: Context,
): Promise<number> {
  const { client, terminal, signal } = context;
  const facts = await client.request<IdentityFacts>("GET", FACTS);
  if (facts.older.length === 0) {
    terminal.warn("nothing to destroy: the master has no older identity\n");
    return 1;
  }
  if (!yes) {
    if (!terminal.interactive) {
      throw new ConfigError("not-confirmed", "cannot ask before an identity is destroyed: there is no terminal", {
        hint: "add --yes",
      });
    }
    const names = sanitiseLine(facts.older.join(", "));
    terminal.warn(`${names}: copies of the store and of the pillar that only it opens are lost with it\n`);
    if (!isYes(await terminal.ask("destroy it? [y/N] ", signal))) return 1;
  }
  const request = await identityRequest(facts, fd, context);
  const { dropped } = await client.request<IdentityDropped>("POST", `${FACTS}/drop`, request);
  for (const recipient of dropped) terminal.print(`destroyed ${sanitiseLine(recipient)}\n`);
  return 0;
}

/** `secret rekey`: what was touched, line by line. Status 1 when something could not be encrypted anew. */
export async function rekey(format: OutputFormat, { client, terminal, paint }: Context): Promise<number> {
  const report = await client.request<RekeyReport>("POST", "/v1/rekey");
  const { recipients, resumed, rekeyed, already, failed, outside } = report;
  if (format === "text") {
    if (resumed) terminal.print("going on with a run that was interrupted\n");
    for (const name of rekeyed) terminal.print(`rekeyed ${sanitiseLine(name)}\n`);
    const total = `${rekeyed.length} rekeyed, ${already} right already, ${failed.length} failed`;
    terminal.print(
      `${total}; ${recipientsText(recipients.length)}:\n${recipients.map((each) => `  ${each}\n`).join("")}`,
    );
  } else {
    const lists = { failed: failed.map((each) => ({ ...each })), outside: outside.map((each) => ({ ...each })) };
    terminal.print(documentText({ recipients, resumed, rekeyed, already, ...lists }, format, paint));
  }
  for (const { name, reason } of outside) {
    terminal.warn(`passed by: ${sanitiseLine(name)}: ${sanitiseLine(reason)}\n`);
  }
  for (const { name, reason } of failed) {
    terminal.warn(`not rekeyed: ${sanitiseLine(name)}: ${sanitiseLine(reason)}\n`);
  }
  return failed.length > 0 ? 1 : 0;
}
