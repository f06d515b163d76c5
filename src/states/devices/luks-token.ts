import { HostError } from "../../core/errors.ts";
import { isJsonObject, type JsonObject } from "../../core/json.ts";
import { readLuksId } from "../../core/luks-number.ts";
import { z } from "../../core/schema.ts";
import type { ApplyContext, CheckContext } from "../state.ts";
import { type LuksHeader, readLuksHeader } from "./luks-header.ts";

const TOKEN_TYPE = "latchkey";
/** LUKS2 has room for 32 keyslots and 32 tokens (specification 1.1, section 3.4). */
const MAX_ID = 31;
const id = z.number().int().min(0).max(MAX_ID);

/** Keyslots by their numbers as text: cryptsetup itself takes a slot out of the list when it kills the slot. */
const tokenSchema = z.strictObject({
  type: z.literal(TOKEN_TYPE),
  keyslots: z.array(z.string().regex(/^\d{1,2}$/u)).max(MAX_ID + 1),
  state: z.enum(["formatting", "committed"]),
  machine: z.array(z.strictObject({ slot: id, version: z.number().int().positive() })).max(MAX_ID + 1),
  volume: z.string().max(63),
  made: z.number().int().nonnegative(),
});

/** A keyslot that holds a key of the master's, and the version of the secret that opens it. */
export interface MachineSlot {
  readonly slot: number;
  readonly version: number;
}

/** What latchkey keeps about a volume in the volume's own LUKS2 header. Never key material. */
export interface LuksToken {
  /** `formatting` from the format until its key was proven to open it; then `committed`. */
  readonly state: "formatting" | "committed";
  /** Only slots that are still there. */
  readonly machine: readonly MachineSlot[];
  /** Name of the volume; "" for a device that no volume declares. */
  readonly volume: string;
  /** When the token was first written, milliseconds since the epoch. */
  readonly made: number;
}

/** What a header says of us: nothing, something under our type that does not read, or a token. */
export type TokenFinding =
  | { readonly kind: "none" }
  | { readonly kind: "damaged"; readonly id: number }
  | { readonly kind: "valid"; readonly id: number; readonly token: LuksToken };

const sectionOf = ({ metadata }: LuksHeader, name: string): JsonObject => {
  const section = metadata[name];
  return isJsonObject(section) ? section : {};
};

function ourIds(header: LuksHeader): readonly number[] {
  const tokens = Object.entries(sectionOf(header, "tokens"));
  const ours = tokens.filter(([, token]) => isJsonObject(token) && token["type"] === TOKEN_TYPE);
  // under another name cryptsetup has no token
  const ids = ours.map(([key]) => readLuksId(key)).filter((tokenId) => tokenId !== undefined);
  return ids.sort((a, b) => a - b);
}

/**
 * The token in a header that `readLuksHeader` parsed; of several the first that reads. A slot that cryptsetup has taken
 * out of the token's list, or that the header does not have, is left out: it was killed, and may be another's by now.
 */
export function findLuksToken(header: LuksHeader): TokenFinding {
  const ids = ourIds(header);
  const slots = sectionOf(header, "keyslots");
  for (const tokenId of ids) {
    const parsed = tokenSchema.safeParse(sectionOf(header, "tokens")[String(tokenId)]);
    if (!parsed.success) continue;
    const { state, keyslots, machine, volume, made } = parsed.data;
    const alive = machine.filter(({ slot }) => keyslots.includes(String(slot)) && slots[String(slot)] !== undefined);
    return { kind: "valid", id: tokenId, token: { state, machine: alive, volume, made } };
  }
  const [first] = ids;
  return first === undefined ? { kind: "none" } : { kind: "damaged", id: first };
}

/** The token of a LUKS2 device, read without a process; undefined for none, one that does not read, or no LUKS2. */
export async function readLuksToken(
  { host }: Pick<CheckContext, "host">,
  path: string,
): Promise<LuksToken | undefined> {
  const luks = await readLuksHeader(host, path);
  const finding = luks.kind === "valid" ? findLuksToken(luks.header) : luks;
  return finding.kind === "valid" && "token" in finding ? finding.token : undefined;
}

/** The JSON that goes into the header, byte for byte. */
export function formatLuksToken({ state, machine, volume, made }: LuksToken): string {
  const keyslots = machine.map(({ slot }) => String(slot));
  const slots = machine.map(({ slot, version }) => ({ slot, version }));
  return JSON.stringify({ type: TOKEN_TYPE, keyslots, state, machine: slots, volume, made });
}

type Acting = Pick<ApplyContext, "host" | "signal">;

async function requireHeader({ host }: Acting, path: string): Promise<LuksHeader> {
  const luks = await readLuksHeader(host, path);
  if (luks.kind === "valid" && luks.header.version === 2) return luks.header;
  throw new HostError("no-luks", `cannot write a token to "${path}": it has no sound LUKS2 header`, {
    facts: { path },
  });
}

async function removeToken({ host, signal }: Acting, path: string, tokenId: number): Promise<void> {
  await host.run(["cryptsetup", "token", "remove", "--token-id", String(tokenId), "--", path], { signal });
}

/**
 * Writes the token to the header in place of the one that is there, by one `cryptsetup token import` (atomic: the header
 * has two copies), and reads it back. The slots must exist. Throws HostError `no-luks`, `no-free-token`, `token-not-written`.
 */
export async function writeLuksToken(context: Acting, path: string, token: LuksToken): Promise<void> {
  const header = await requireHeader(context, path);
  const tokens = sectionOf(header, "tokens");
  const [ours, ...others] = ourIds(header);
  const free = Array.from({ length: MAX_ID + 1 }, (_, index) => index).find((index) => !(String(index) in tokens));
  const tokenId = ours ?? free;
  if (tokenId === undefined) {
    throw new HostError("no-free-token", `cannot write a token to "${path}": all ${MAX_ID + 1} places are taken`);
  }
  for (const other of others) await removeToken(context, path, other);
  const replace = ours === undefined ? [] : ["--token-replace"];
  await context.host.run(
    ["cryptsetup", "token", "import", "--token-id", String(tokenId), ...replace, "--json-file=-", "--", path],
    { stdin: Buffer.from(formatLuksToken(token), "utf8"), signal: context.signal },
  );
  const written = await readLuksToken(context, path);
  if (written === undefined || formatLuksToken(written) !== formatLuksToken(token)) {
    throw new HostError("token-not-written", `cannot write a token to "${path}": it does not read back`);
  }
}

/** Takes our token (all, were there several) out of the header; the keyslots stay. Nothing happens when there is none. */
export async function removeLuksToken(context: Acting, path: string): Promise<void> {
  for (const tokenId of ourIds(await requireHeader(context, path))) await removeToken(context, path, tokenId);
}

/**
 * Sees to it that the header's token knows a machine slot that was just proven to open: volumes from before there were
 * tokens get theirs, and one that misses the slot or its version is put right. True when something was written.
 */
export async function adoptToken(
  context: Acting,
  path: string,
  proven: MachineSlot,
  about: Pick<LuksToken, "volume" | "made">,
): Promise<boolean> {
  const before = await readLuksToken(context, path);
  const others = before?.machine.filter(({ slot }) => slot !== proven.slot) ?? [];
  const machine = [...others, { slot: proven.slot, version: proven.version }].sort((a, b) => a.slot - b.slot);
  const { volume, made } = before ?? about;
  const token: LuksToken = { state: "committed", machine, volume: volume || about.volume, made };
  if (before !== undefined && formatLuksToken(before) === formatLuksToken(token)) return false;
  await writeLuksToken(context, path, token);
  return true;
}
