import { z } from "./schema.ts";

const text = (max: number) => z.string().max(max);

/** Something about a volume that somebody should look at. */
export const volumeProblemSchema = z.strictObject({
  /** `key-does-not-open`, `unknown-slot`, `header-changed`, `no-verified-copy`, … */
  code: text(60),
  text: text(500),
  /** True when the next boot would not get the volume up. */
  fatal: z.boolean(),
});
export type VolumeProblem = z.infer<typeof volumeProblemSchema>;

/** What a minion tells its master of one volume after each operation, startup run and check. Never key material. */
export const volumeReportSchema = z.strictObject({
  volume: text(63),
  /** When it was looked at, milliseconds since the epoch by the minion's clock. */
  at: z.number().int(),
  state: z.enum(["up", "down", "partial", "not-provisioned", "locked"]),
  /** Pillar path of its key; "" for a volume that is not encrypted. */
  keyPath: text(500),
  /** The LUKS device, "" for none. */
  device: text(4096),
  /** UUID of the LUKS header, "" for none. */
  luksUuid: text(64),
  /** SHA-256 of the whole LUKS header with its keyslots, hex; "" when it was not read. */
  headerDigest: text(64),
  /** Keyslots in use. `version`: of the stored key, by the header's own token; 0 for one that is not known to be ours. */
  slots: z
    .array(
      z.strictObject({
        slot: z.number().int().min(0).max(31),
        kdf: text(20),
        priority: z.enum(["prefer", "normal", "ignore"]),
        version: z.number().int().nonnegative(),
      }),
    )
    .max(32),
  /** The last time that a stored key was seen to open this very header, and which version it was; zeros for never. */
  proven: z.strictObject({ version: z.number().int().nonnegative(), at: z.number().int().nonnegative() }),
  /** How the disk below is told from others: serial or WWID, size in bytes, UUIDs of physical volumes. */
  disk: z.strictObject({ serial: text(300), bytes: z.number().int(), pvUuids: z.array(text(64)).max(64) }),
  problems: z.array(volumeProblemSchema).max(20),
});
export type VolumeReport = z.infer<typeof volumeReportSchema>;

/**
 * The report with what its bounds allow. Texts and lists in it come from disks, headers and programs; one that is too long would
 * have the master refuse it, and with it what is told of all other volumes.
 */
export function boundedReport(report: VolumeReport): VolumeReport {
  const { shape } = volumeReportSchema;
  const { serial, bytes, pvUuids } = report.disk;
  return {
    ...report,
    keyPath: report.keyPath.slice(0, 500),
    device: report.device.slice(0, 4096),
    luksUuid: report.luksUuid.slice(0, 64),
    headerDigest: report.headerDigest.slice(0, 64),
    slots: report.slots.filter((slot) => shape.slots.unwrap().safeParse(slot).success).slice(0, 32),
    disk: { serial: serial.slice(0, 300), bytes, pvUuids: pvUuids.slice(0, 64).map((uuid) => uuid.slice(0, 64)) },
    problems: report.problems
      .slice(0, 20)
      .map(({ code, text, fatal }) => ({ code: code.slice(0, 60), text: text.slice(0, 500), fatal })),
  };
}
