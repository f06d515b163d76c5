import { errorMessage } from "../core/errors.ts";
import type { Host } from "../core/host.ts";
import { Lane } from "../core/lane.ts";
import type { Logger } from "../core/log.ts";
import { z } from "../core/schema.ts";
import type { SignedEpoch } from "../wire/messages.ts";

/** Masters that are remembered; for one more, the one whose epoch was kept first is forgotten. */
const MAX_MASTERS = 16;

const base64 = z.base64().max(88);
const fileSchema = z.record(
  z.string(),
  z.strictObject({ epoch: z.number().int().nonnegative(), nonce: base64, signature: base64 }),
);
type File = z.infer<typeof fileSchema>;

/** The newest epoch of jobs that each master has signed: what this host shows to a master whose store was taken back. */
export interface EpochFile {
  /** By the master's fingerprint; undefined when none is kept. */
  of(master: string): SignedEpoch | undefined;
  /** Kept, on disk when it resolves. Throws HostError. */
  save(master: string, signed: SignedEpoch): Promise<void>;
}

/**
 * Opens (or will make) the file. One that is damaged counts as empty, with a warning: without it this host cannot help a master
 * that was taken back, and nothing else.
 */
export async function openEpochFile(host: Host, path: string, log: Pick<Logger, "warn">): Promise<EpochFile> {
  let kept = await read(host, path, log);
  const lane = new Lane();
  const write = async (master: string, { epoch, nonce, signature }: SignedEpoch): Promise<void> => {
    const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
    const others = Object.entries(kept).filter(([name]) => name !== master);
    const next: File = {
      ...Object.fromEntries(others.slice(1 - MAX_MASTERS)),
      [master]: { epoch, nonce: text(nonce), signature: text(signature) },
    };
    await host.writeFile(path, Buffer.from(`${JSON.stringify(next)}\n`), { mode: 0o600 });
    kept = next;
  };
  return {
    of: (master) => {
      const found = Object.hasOwn(kept, master) ? kept[master] : undefined;
      return (
        found && {
          epoch: found.epoch,
          nonce: Buffer.from(found.nonce, "base64"),
          signature: Buffer.from(found.signature, "base64"),
        }
      );
    },
    save: async (master, signed) => lane.run(async () => write(master, signed)),
  };
}

async function read(host: Host, path: string, log: Pick<Logger, "warn">): Promise<File> {
  const bytes = await host.readFile(path);
  if (bytes === undefined) return {};
  try {
    return fileSchema.parse(JSON.parse(bytes.toString("utf8")));
  } catch (error) {
    log.warn({ path, err: errorMessage(error) }, "the file of the masters' epochs is damaged and counts as empty");
    return {};
  }
}
