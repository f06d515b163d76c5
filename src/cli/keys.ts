import type { KeyAction, KeyEntry, KeyList, KeyState } from "../core/control-api.ts";
import { ConfigError } from "../core/errors.ts";
import type { Context } from "./context.ts";
import type { Colour } from "./format/paint.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { tableText, timeText } from "./format/table.ts";
import { documentText, type OutputFormat } from "./output.ts";

const COLOURS: Readonly<Record<KeyState, Colour>> = {
  pending: "yellow",
  accepted: "green",
  rejected: "red",
  denied: "red",
  barred: "red",
};
const STATES = ["pending", "accepted", "rejected", "denied", "barred"] as const satisfies readonly KeyState[];
const DONE = { accept: "accepted", reject: "rejected", delete: "deleted" } as const;

function keyTable(keys: readonly KeyEntry[], { paint }: Context): string {
  const rows = keys.map(({ id, state, fingerprint, address, lastSeen }) => [
    { text: id },
    { text: state, colour: COLOURS[state] },
    { text: address || "-" },
    { text: timeText(lastSeen) },
    // last: where the terminal is too narrow for all of it, the other columns stay below each other
    { text: fingerprint },
  ]);
  return tableText(["ID", "STATE", "FROM", "LAST SEEN", "FINGERPRINT"], rows, paint);
}

const plain = (keys: readonly KeyEntry[]) => keys.map((key) => ({ ...key }));

/** `keys list [state]`. */
export async function listKeys(state: string | undefined, format: OutputFormat, context: Context): Promise<number> {
  if (state !== undefined && !STATES.some((known) => known === state)) {
    throw new ConfigError("bad-key-state", `cannot list "${state}" keys`, { hint: `states are ${STATES.join(", ")}` });
  }
  const { keys } = await context.client.request<KeyList>("GET", "/v1/keys");
  const order = (key: KeyEntry) => STATES.indexOf(key.state);
  const shown = keys
    .filter((key) => state === undefined || key.state === state)
    .toSorted((a, b) => order(a) - order(b) || a.id.localeCompare(b.id));
  if (format !== "text") context.terminal.print(documentText({ keys: plain(shown) }, format, context.paint));
  else if (shown.length === 0) context.terminal.print(state === undefined ? "no keys\n" : `no ${state} keys\n`);
  else context.terminal.print(keyTable(shown, context));
  return 0;
}

/** `keys show <id>`: everything about the key (or keys, when another asks for the same id). */
export async function showKey(id: string, format: OutputFormat, context: Context): Promise<number> {
  const { keys } = await context.client.request<KeyList>("GET", "/v1/keys");
  const found = keys.filter((key) => key.id === id);
  if (found.length === 0) {
    throw new ConfigError("no-such-key", `cannot show key "${id}": the master has seen no such minion`, {
      hint: "see all with `latchkey keys list`",
    });
  }
  if (format !== "text") {
    context.terminal.print(documentText({ keys: plain(found) }, format, context.paint));
    return 0;
  }
  for (const key of found) {
    const lines = [
      ["id", key.id],
      ["state", key.state],
      ["fingerprint", key.fingerprint],
      ["address", key.address || "-"],
      ["first seen", timeText(key.firstSeen)],
      ["last seen", timeText(key.lastSeen)],
    ].map(([label, text]) => `${`${label}:`.padEnd(13)}${sanitiseLine(text ?? "")}`);
    context.terminal.print(`${lines.join("\n")}\n`);
  }
  return 0;
}

async function confirmed(question: string, keys: readonly KeyEntry[], context: Context): Promise<boolean> {
  const { terminal } = context;
  terminal.warn(keyTable(keys, context));
  if (!terminal.interactive) {
    throw new ConfigError("not-confirmed", `cannot ask "${question}": there is no terminal`, {
      hint: "add --yes to act without a question",
    });
  }
  return /^y(?:es)?$/iu.test(await terminal.ask(`${question} [y/N] `, context.signal));
}

/** What `keys accept|reject|delete` was told. */
export interface KeyChange {
  readonly action: KeyAction["action"];
  readonly match: string;
  /** Do not ask. */
  readonly yes: boolean;
  readonly fingerprint: string | undefined;
  /** Also keys of hosts that have provisioned volumes. */
  readonly force: boolean;
}

/**
 * `keys accept|reject|delete <glob>`: shows what it would change and asks, unless `yes`. Acts on the very keys that were
 * shown, by fingerprint: another that came in between is left alone. Status 1 when told no, or when one of them is gone.
 */
export async function changeKeys(
  { action, match, yes, fingerprint, force }: KeyChange,
  context: Context,
): Promise<number> {
  const ask = async (dryRun: boolean, fingerprints?: readonly string[]) => {
    const given = { ...(fingerprints ? { fingerprints } : {}), ...(force ? { force } : {}) };
    const body: KeyAction = { action, match, dryRun, ...given };
    const { keys } = await context.client.request<KeyList>("POST", "/v1/keys", body);
    if (keys.length === 0) throw nothingMatches(action, match);
    return keys;
  };
  const only = fingerprint === undefined ? undefined : [fingerprint];
  let shown = only;
  if (!yes) {
    const keys = await ask(true, only);
    const question = `${action} ${keys.length === 1 ? "this key" : `these ${keys.length} keys`}?`;
    if (!(await confirmed(question, keys, context))) {
      context.terminal.warn("nothing changed\n");
      return 1;
    }
    shown = keys.map((key) => key.fingerprint);
  }
  const changed = await ask(false, shown);
  for (const key of changed) {
    context.terminal.print(`${DONE[action]} ${sanitiseLine(key.id)}  ${sanitiseLine(key.fingerprint)}\n`);
  }
  const missed = yes ? 0 : (shown?.length ?? 0) - changed.length;
  if (missed > 0) context.terminal.warn(`${missed} of the keys shown changed meanwhile: look again\n`);
  return missed > 0 ? 1 : 0;
}

function nothingMatches(action: KeyAction["action"], match: string): ConfigError {
  return new ConfigError("no-such-key", `cannot ${action} "${match}": no key that this applies to matches`, {
    hint: "see all with `latchkey keys list`",
  });
}
