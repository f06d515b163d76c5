import type { JsonObject } from "../../src/core/json.ts";
import { formatLayout, layoutOf } from "../../src/core/luks-layout.ts";
import type { LuksHeader } from "../../src/states/devices/luks-header.ts";

const keyslot = (offset: number, salt: string) => ({
  type: "luks2",
  key_size: 64,
  priority: 2,
  af: { type: "luks1", stripes: 4000, hash: "sha256" },
  area: { type: "raw", offset: String(offset), size: "258048", encryption: "aes-xts-plain64", key_size: 64 },
  kdf: { type: "pbkdf2", hash: "sha256", iterations: 1000, salt },
});
const crypt = (more: object = {}) => ({
  type: "crypt",
  offset: "2097152",
  size: "dynamic",
  iv_tweak: "0",
  encryption: "aes-xts-plain64",
  sector_size: 4096,
  ...more,
});
const digest = (salt: string, segments: readonly string[]) => ({
  type: "pbkdf2",
  keyslots: ["0"],
  segments,
  hash: "sha256",
  iterations: 1000,
  salt,
  digest: `${salt}=`,
});

/** Parts of a LUKS2 header's JSON area, as cryptsetup 2.6.1 writes them. */
export const parts = { keyslot, crypt, digest };

/** Puts a value at a place of the JSON area, such as `segments.0.encryption`; undefined takes it away. */
export function setAt(metadata: JsonObject, place: string, value: unknown): void {
  const names = place.split(".");
  const last = names.pop() ?? "";
  let within = metadata as Record<string, unknown>;
  for (const name of names) within = (within[name] ??= {}) as Record<string, unknown>;
  if (value === undefined) delete within[last];
  else within[last] = value;
}

/** The JSON area as our own format makes it. */
export function luksMetadata(): JsonObject {
  return structuredClone({
    keyslots: { "0": keyslot(32_768, "slot0") },
    tokens: { "0": { type: "latchkey", keyslots: ["0"] } },
    segments: { "0": crypt() },
    digests: { "0": digest("digest0", ["0"]) },
    config: { json_size: "12288", keyslots_size: "1048576" },
  });
}

/** As `cryptsetup reencrypt --init-only` leaves that. */
export function reencryptedMetadata(): JsonObject {
  const metadata = luksMetadata();
  setAt(metadata, "keyslots.1", keyslot(290_816, "slot1"));
  setAt(metadata, "keyslots.2", {
    type: "reencrypt",
    mode: "reencrypt",
    direction: "forward",
    key_size: 1,
    area: { type: "checksum", offset: "548864", size: "532480", hash: "sha256", sector_size: 4096 },
  });
  setAt(metadata, "segments.1", crypt({ flags: ["backup-previous"] }));
  setAt(metadata, "segments.2", crypt({ flags: ["backup-final"] }));
  setAt(metadata, "digests.1", digest("digest1", ["2"]));
  setAt(metadata, "config.requirements", { mandatory: ["online-reencrypt-v2"] });
  return metadata;
}

/** What a lease says of a header with this JSON area. */
export function claimOf(uuid: string, metadata: JsonObject): { readonly layout: string; readonly luksUuid: string } {
  return { layout: formatLayout(layoutOf({ version: 2, uuid, metadata })), luksUuid: uuid };
}

/** A LUKS2 header with this metadata, as reading one gives it. */
export const headerOf = (metadata: JsonObject = luksMetadata()): LuksHeader => ({
  version: 2,
  uuid: "u",
  label: "",
  sequence: 1,
  metadata,
  atStart: true,
});
