import { z } from "./schema.ts";
import { volumeReportSchema } from "./volume-report.ts";

/** Most bytes of a LUKS2 header that is kept: 16 MiB of keyslots, 4 MiB of everything else. */
export const MAX_HEADER_BYTES = 20 * 1024 * 1024;
/** Bytes of one piece on its way. */
export const HEADER_CHUNK_BYTES = 512 * 1024;
/** Most headers that the master keeps of one volume. */
export const MAX_HEADERS = 60;

/** Why a header was backed up. */
export const HEADER_REASONS = [
  "provision",
  "rotate",
  "reencrypt",
  "add-recovery",
  "rescue",
  "grow",
  "restore",
  "erase",
  "check",
  "operator",
] as const;
export type HeaderReason = (typeof HEADER_REASONS)[number];

const text = (max: number) => z.string().max(max);
const digest = z.string().regex(/^[0-9a-f]{64}$/u);

/** A keyslot as a backup has it. */
export const headerSlotSchema = z.strictObject({
  slot: z.number().int().min(0).max(31),
  kdf: text(20),
  priority: z.enum(["prefer", "normal", "ignore"]),
  /** Version of the stored key, by the header's own token; 0 for one that is not the master's. */
  version: z.number().int().nonnegative(),
  /** Tells this very slot from another with the same number. */
  mark: z.string().regex(/^[0-9a-f]{16}$/u),
  /** Whether it is meant to be there: the master's, or made by an operator's command. */
  trusted: z.boolean(),
});
export type HeaderSlot = z.infer<typeof headerSlotSchema>;

/** What is known of a header beside its bytes: whose it is, and where it belongs. Never key material. */
export const headerFactsSchema = z.strictObject({
  volume: text(63).min(1),
  /** SHA-256 over all its bytes, hex. */
  digest,
  bytes: z.number().int().positive().max(MAX_HEADER_BYTES),
  luksUuid: text(64).min(1),
  reason: z.enum(HEADER_REASONS),
  device: text(4096),
  /** Size of the LUKS device. */
  deviceBytes: z.number().int().nonnegative(),
  /** The device fingerprint: how the disk below is told from others. */
  disk: volumeReportSchema.shape.disk,
  slots: z.array(headerSlotSchema).max(32),
  /** Tells whether two headers hold the same volume key: made of its salted digests, 16 hex digits. */
  volumeKey: z.string().regex(/^[0-9a-f]{16}$/u),
});
export type HeaderFacts = z.infer<typeof headerFactsSchema>;

/** A header in the master's escrow. */
export const escrowedHeaderSchema = headerFactsSchema.extend({
  /** From 1, by volume. */
  version: z.number().int().positive(),
  /** When it was stored, milliseconds since the epoch by the master's clock. */
  at: z.number().int(),
  /** The stored version of the key that the master saw to open it, and when; zeros for none. */
  proven: volumeReportSchema.shape.proven,
});
export type EscrowedHeader = z.infer<typeof escrowedHeaderSchema>;

/** The same as its host is told of it. */
export const listedHeaderSchema = escrowedHeaderSchema.extend({
  /** Every version of the key that is known to open it was set aside when its volume was removed. */
  forgotten: z.literal(true).optional(),
});

/** `GET /v1/headers` (queries `match`, a glob of minions, and `volumes`, separated by commas): what is in escrow. */
export interface HeaderList {
  readonly headers: readonly (EscrowedHeader & { readonly id: string })[];
}

/** `POST /v1/headers/prove`: whether a stored key opens the newest header, computed by the master alone. */
export interface HeaderProof {
  readonly id: string;
  readonly volume: string;
  /** Version of the header; 0 when there is none in escrow. */
  readonly header: number;
  readonly digest: string;
  /** Version of the key that opens it; 0 for none. */
  readonly version: number;
  readonly at: number;
}

/** `POST /v1/headers/accept`: the next header of this volume that is opened is taken as it is. */
export interface HeaderAccepted {
  readonly id: string;
  readonly volume: string;
}
