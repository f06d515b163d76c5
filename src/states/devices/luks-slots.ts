import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";
import { readLuksId, readLuksNumber } from "../../core/luks-number.ts";
import { sha256 } from "../../core/crypto/hash.ts";
import type { LuksHeader } from "./luks-header.ts";

const BINARY_SIZE = 4096;
const PRIORITIES = ["ignore", "normal", "prefer"] as const;

/** A keyslot in use, as the header describes it. */
export interface Keyslot {
  readonly slot: number;
  /** `pbkdf2`, `argon2id`, … */
  readonly kdf: string;
  readonly priority: (typeof PRIORITIES)[number];
  /** Tells this very slot from another one with the same number: made of its salt, 16 hex digits. */
  readonly mark: string;
}

const objectAt = (value: Json | undefined, key: string): JsonObject => {
  const found = isJsonObject(value) ? value[key] : undefined;
  return isJsonObject(found) ? found : {};
};
const textAt = (value: JsonObject, key: string): string => {
  const found = value[key];
  return typeof found === "string" ? found : "";
};

/** The keyslots in use of a LUKS2 header, by number; none for LUKS1. Specification 1.1, section 3.1. */
export function keyslotsOf({ metadata }: LuksHeader): readonly Keyslot[] {
  const slots = objectAt(metadata, "keyslots");
  return Object.keys(slots)
    .flatMap((key) => {
      const number = readLuksId(key);
      if (number === undefined) return [];
      const slot = objectAt(slots, key);
      const kdf = objectAt(slot, "kdf");
      const { priority } = slot;
      const keyslot: Keyslot = {
        slot: number,
        kdf: textAt(kdf, "type").slice(0, 20),
        priority: (typeof priority === "number" ? PRIORITIES[priority] : undefined) ?? "normal",
        mark: sha256(Buffer.from(`${textAt(kdf, "salt")}\n${textAt(objectAt(slot, "area"), "offset")}`)).toString(
          "hex",
          0,
          8,
        ),
      };
      return [keyslot];
    })
    .sort((a, b) => a.slot - b.slot);
}

/** Bytes of a LUKS2 header, both its copies and the area of its keyslots; 0 when it does not say, or for LUKS1. */
export function luksHeaderBytes({ metadata }: LuksHeader): number {
  const config = objectAt(metadata, "config");
  const json = readLuksNumber(config["json_size"]) ?? 0;
  const area = readLuksNumber(config["keyslots_size"]);
  const bytes = area === undefined ? 0 : 2 * (json + BINARY_SIZE) + area;
  return json > 0 && Number.isSafeInteger(bytes) ? bytes : 0;
}

/** How the data is encrypted, such as `aes-xts-plain64`, and where it begins in bytes; "" and 0 when not known. */
export function luksSegment({ metadata }: LuksHeader): { readonly cipher: string; readonly offset: number } {
  const segment = objectAt(objectAt(metadata, "segments"), "0");
  return { cipher: textAt(segment, "encryption"), offset: readLuksNumber(segment["offset"]) ?? 0 };
}

/**
 * Made of what proves the volume keys in a header, salted (section 3.4): two headers with the same mark hold the same
 * ones. 16 hex digits.
 */
export function volumeKeyMark({ metadata }: LuksHeader): string {
  const digests = Object.values(objectAt(metadata, "digests")).flatMap((digest) =>
    isJsonObject(digest) ? [["type", "hash", "salt", "digest"].map((key) => textAt(digest, key)).join(":")] : [],
  );
  return sha256(Buffer.from(digests.toSorted().join("\n"))).toString("hex", 0, 8);
}
