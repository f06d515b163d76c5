import { ConfigError } from "../core/errors.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { pushVolumeJob, volumeJob, type VolumeJobOptions } from "./volume-job.ts";
import { oneVolume } from "./volume-recovery.ts";

/** What a re-encryption is asked for with. */
export interface ReencryptOptions extends VolumeJobOptions {
  readonly dropSlots?: string;
  readonly confirm?: string;
  readonly iHaveABackup?: boolean;
}

function slotsOf(text: string): number[] {
  const words = text === "" ? [] : text.split(",");
  if (words.every((word) => /^(?:[0-9]|[12][0-9]|3[01])$/u.test(word))) return words.map(Number);
  throw new ConfigError("bad-slot", `cannot use keyslots "${text}": numbers from 0 to 31, with commas`);
}

/** `volume reencrypt`: asks for the volume's name, typed out, then pushes the job. Returns the exit status. */
export async function reencrypt(target: string, options: ReencryptOptions, context: Context): Promise<number> {
  const { terminal, signal } = context;
  const { id, volume } = oneVolume(target);
  const drop = slotsOf(options.dropSlots ?? "");
  if (options.iHaveABackup !== true) {
    throw new ConfigError(
      "no-backup",
      `cannot re-encrypt "${volume}": data was lost where a re-encryption was interrupted, and went on afterwards`,
      { hint: "make a backup of what is on it, and add --i-have-a-backup" },
    );
  }
  const question = sanitiseLine(`every sector of ${id}/${volume} is written anew; type the name of the volume: `);
  if (options.confirm === undefined && !terminal.interactive) {
    throw new ConfigError("not-confirmed", "cannot ask for the name of the volume: there is no terminal", {
      hint: `add --confirm ${volume}`,
    });
  }
  const typed = options.confirm ?? (await terminal.ask(question, signal));
  if (typed !== volume) throw new ConfigError("not-confirmed", `cannot re-encrypt "${volume}": its name was not typed`);
  const kwargs = { i_have_a_backup: true, ...(drop.length === 0 ? {} : { drop_slots: drop }) };
  const given = { ...options, list: true } as const;
  return pushVolumeJob(volumeJob(`${id}/${volume}`, "volume.reencrypt", kwargs, given), given, context);
}
