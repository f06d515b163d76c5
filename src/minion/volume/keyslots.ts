import { HostError } from "../../core/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";
import { readLuksId, readLuksInteger, readLuksNumber } from "../../core/luks-number.ts";
import type { Secret } from "../../core/secret.ts";
import type { LuksHeader } from "../../states/devices/luks-header.ts";
import type { LeasedKey } from "../../states/state.ts";
import type { VolumeContext } from "./runner.ts";

/** A random 256-bit key needs no slow key derivation. */
export const MACHINE_KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"] as const;
/** For what a person remembers. */
export const HUMAN_KDF = ["--pbkdf", "argon2id"] as const;
/** cryptsetup(8): no usable keyslot (1), no key available with this passphrase (2). */
const DOES_NOT_OPEN = [1, 2] as const;
const MAX_SLOTS = 32;
/** LUKS2 On-Disk Format Specification 1.1, section 3.2: areas are aligned to 4096 bytes, 4000 stripes of the key. */
const AREA_ALIGN = 4096;
const STRIPES = 4000;

/** A keyslot as the header has it. */
export interface Keyslot {
  readonly slot: number;
  /** `pbkdf2`, `argon2id` …; "" for one that holds no key of a person or machine (a re-encryption). */
  readonly kdf: string;
  readonly priority: "prefer" | "normal" | "ignore";
}

type Acting = Pick<VolumeContext, "host" | "signal">;

const child = (value: Json | undefined, name: string): JsonObject => {
  const found = isJsonObject(value) ? value[name] : undefined;
  return isJsonObject(found) ? found : {};
};

/** The keyslots of a header, by number. */
export function readKeyslots({ metadata }: Pick<LuksHeader, "metadata">): readonly Keyslot[] {
  const slots = Object.entries(child(metadata, "keyslots")).flatMap(([name, value]): readonly Keyslot[] => {
    const slot = readLuksId(name);
    if (slot === undefined) return [];
    const kdf = child(value, "kdf")["type"];
    const priority = isJsonObject(value) ? value["priority"] : undefined;
    return [
      {
        slot,
        kdf: typeof kdf === "string" ? kdf : "",
        priority: priority === 2 ? "prefer" : priority === 0 ? "ignore" : "normal",
      },
    ];
  });
  return slots.toSorted((a, b) => a.slot - b.slot);
}

/**
 * How many more keyslots of the volume key's size the header has room for; 1 MiB of keyslots holds four of a 512-bit key. 0 for a
 * header that does not say where its keyslots lie.
 */
export function countFreeKeyslots({ metadata }: Pick<LuksHeader, "metadata">): number {
  const slots = child(metadata, "keyslots");
  const config = child(metadata, "config");
  const numberOf = (value: Json | undefined) => readLuksNumber(value) ?? Number.NaN;
  const start = 2 * (numberOf(config["json_size"]) + AREA_ALIGN);
  const end = start + numberOf(config["keyslots_size"]);
  const taken = Object.values(slots).map((slot): readonly [number, number] => {
    const area = child(slot, "area");
    return [numberOf(area["offset"]), numberOf(area["size"])];
  });
  if ([[start, end], ...taken].flat().some((number) => !Number.isSafeInteger(number))) return 0;
  const keyBytes = Math.max(
    ...Object.values(slots).map((slot) => (isJsonObject(slot) ? readLuksInteger(slot["key_size"]) : undefined) ?? 0),
    0,
  );
  const need = Math.ceil(((keyBytes || 64) * STRIPES) / AREA_ALIGN) * AREA_ALIGN;
  let at = start;
  let room = 0;
  for (const [offset, size] of [...taken.toSorted((a, b) => a[0] - b[0]), [end, 0] as const]) {
    room += Math.max(0, Math.floor((offset - at) / need));
    at = Math.max(at, offset + size);
  }
  return Math.min(room, MAX_SLOTS - Object.keys(slots).length);
}

/**
 * The lowest keyslot number that is free, when the header has room for one more slot. Throws HostError `no-free-slot`.
 */
export function requireFreeKeyslot(header: Pick<LuksHeader, "metadata">, path: string): number {
  const slots = child(header.metadata, "keyslots");
  const free = Array.from({ length: MAX_SLOTS }, (_, index) => index).find((index) => !(String(index) in slots));
  if (free !== undefined && countFreeKeyslots(header) > 0) return free;
  const used = readKeyslots(header).length;
  throw new HostError("no-free-slot", `cannot add a key to "${path}": its header has no room beside ${used} keyslots`, {
    hint: "remove one first (latchkey volume remove-recovery), or format with a bigger keyslots_size",
    facts: { path, used },
  });
}

/** Whether the key opens this very keyslot; nothing is mapped, nothing is changed. */
export async function opensSlot({ host, signal }: Acting, path: string, key: Secret, slot: number): Promise<boolean> {
  const options = ["--type", "luks2", "--key-slot", String(slot), "--key-file=-", "--keyfile-size", String(key.length)];
  const { exitCode } = await host.run(["cryptsetup", "open", "--test-passphrase", ...options, "--", path], {
    stdin: key,
    okCodes: [0, ...DOES_NOT_OPEN],
    signal,
  });
  return exitCode === 0;
}

/**
 * The keyslots that a key opens, each tried by itself. A key that the master made is not tried on slots with a slow key
 * derivation, unless `also` names them: a person's passphrase takes a second and much memory to try.
 */
export async function slotsOpenedBy(
  context: Acting,
  path: string,
  header: Pick<LuksHeader, "metadata">,
  { secret, generated }: Pick<LeasedKey, "generated" | "secret">,
  { also = [], except = [] }: { readonly also?: readonly number[]; readonly except?: readonly number[] } = {},
): Promise<readonly number[]> {
  const tried = readKeyslots(header).filter(
    ({ slot, kdf }) => kdf !== "" && !except.includes(slot) && (!generated || kdf === "pbkdf2" || also.includes(slot)),
  );
  const opened: number[] = [];
  for (const { slot } of tried) if (await opensSlot(context, path, secret, slot)) opened.push(slot);
  return opened;
}

/** Adds a key to a free keyslot; both keys go through one pipe, the one that opens the header first (I5). */
export async function addKeyslot(
  { host, signal }: Acting,
  path: string,
  keys: { readonly opens: Secret; readonly added: Secret },
  { slot, kdf }: { readonly slot: number; readonly kdf: readonly string[] },
): Promise<void> {
  const { opens, added } = keys;
  const old = ["--key-file=-", `--keyfile-size=${opens.length}`];
  const further = ["--new-keyfile=-", `--new-keyfile-size=${added.length}`, `--new-key-slot=${slot}`, ...kdf];
  await host.run(["cryptsetup", "luksAddKey", "--batch-mode", "--type", "luks2", ...old, ...further, "--", path], {
    stdin: [opens, added],
    signal,
  });
}

/** Makes a keyslot one that is tried first, or not; nothing happens when it is so already. */
export async function setPriority(
  { host, signal }: Acting,
  path: string,
  header: Pick<LuksHeader, "metadata">,
  slot: number,
  priority: "prefer" | "normal",
): Promise<void> {
  if (readKeyslots(header).some((known) => known.slot === slot && known.priority === priority)) return;
  await host.run(["cryptsetup", "config", "--priority", priority, "--key-slot", String(slot), "--", path], { signal });
}

/** Kills a keyslot by its number, authorised by a key that opens another one: cryptsetup refuses otherwise. */
export async function killKeyslot({ host, signal }: Acting, path: string, key: Secret, slot: number): Promise<void> {
  const options = ["--batch-mode", "--type", "luks2", "--key-file=-", `--keyfile-size=${key.length}`];
  await host.run(["cryptsetup", "luksKillSlot", ...options, "--", path, String(slot)], { stdin: key, signal });
}
