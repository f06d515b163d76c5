import { HostError } from "../../core/errors.ts";
import { Secret } from "../../core/secret.ts";
import { findMapping } from "../../states/devices/block-device.ts";
import { isVolumeLocked, mappingName } from "./suspended.ts";
import type { VolumeContext } from "./runner.ts";

const SPACE = 0x20;
const COLON = 0x3a;
/** Place of the key in a line of a crypt table: `<start> <length> crypt <cipher> <key> …` (dm-crypt, kernel documentation). */
const KEY_FIELD = 4;

/** What a crypt table says of its key: the key itself, that it is in the keyring, or nothing of use. The caller wipes it. */
export type TableKey = { readonly kind: "key"; readonly key: Secret } | { readonly kind: "keyring" | "none" };

function fieldOf(bytes: Buffer, wanted: number): Buffer {
  let start = 0;
  for (let field = 0; field < wanted; field += 1) {
    const next = bytes.indexOf(SPACE, start);
    if (next === -1) return bytes.subarray(0, 0);
    start = next + 1;
  }
  const end = bytes.indexOf(SPACE, start);
  return bytes.subarray(start, end === -1 ? bytes.length : end);
}

const digit = (byte: number): number =>
  byte >= 0x30 && byte <= 0x39 ? byte - 0x30 : byte >= 0x61 && byte <= 0x66 ? byte - 0x57 : -1;

/** Reads the key out of a table's bytes; never makes a string of it (I5). */
export function readTableKey(table: Secret): TableKey {
  const bytes = table.expose();
  const kind = fieldOf(bytes, 2);
  const hex = fieldOf(bytes, KEY_FIELD);
  if (!kind.equals(Buffer.from("crypt")) || hex.length === 0) return { kind: "none" };
  if (hex[0] === COLON) return { kind: "keyring" };
  const key = Buffer.alloc(hex.length >> 1);
  for (let at = 0; at < key.length; at += 1) {
    const high = digit(hex[2 * at] ?? 0);
    const low = digit(hex[2 * at + 1] ?? 0);
    if (high < 0 || low < 0) {
      key.fill(0);
      return { kind: "none" };
    }
    key[at] = high * 16 + low;
  }
  if (hex.length % 2 === 0 && key.some((byte) => byte !== 0)) return { kind: "key", key: Secret.take(key) };
  key.fill(0);
  return { kind: "none" };
}

/**
 * The volume key of an open volume, out of the kernel's table; the caller wipes it. Throws HostError `not-open`,
 * `volume-locked`, and `key-in-keyring` where the kernel keeps it in its keyring, from which nobody can read it.
 */
export async function volumeKeyFromKernel({ host, volume, signal }: VolumeContext): Promise<Secret> {
  const no = (code: string, why: string, hint: string) =>
    new HostError(code, `cannot take the key of volume "${volume.name}" out of the kernel: ${why}`, { hint });
  const notOpen = () => no("not-open", "it is not open", "only from a volume that is up a new key can be stored");
  if (await isVolumeLocked(host, volume)) {
    throw no(
      "volume-locked",
      "it is suspended, and the key was wiped",
      "latchkey volume unlock gives it its key again",
    );
  }
  // by its UUID: a mapping that came to have the name meanwhile has another one
  const mapping = await findMapping(host, mappingName(volume));
  if (mapping === undefined) throw notOpen();
  const result = await host.run(["dmsetup", "table", "--showkeys", "--uuid", mapping.uuid], {
    secretStdout: true,
    okCodes: [0, 1],
    signal,
  });
  using table = result.secret;
  if (result.exitCode !== 0 || table === undefined) throw notOpen();
  const found = readTableKey(table);
  if (found.kind === "key") return found.key;
  if (found.kind === "keyring") {
    throw no(
      "key-in-keyring",
      "the kernel keeps it in its keyring, from which nobody can read it",
      "copy the data off while the volume is up, then make it anew; or, when somebody has another passphrase of it: latchkey volume rescue --ask",
    );
  }
  throw no("not-open", "its table has no key", "copy the data off while the volume is up");
}
