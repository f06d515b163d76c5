import type { Command } from "commander";
import { ConfigError } from "../core/errors.ts";
import type { Setup } from "./program.ts";
import { pushVolumeJob, volumeJob, type VolumeJobOptions, withVolumeTarget } from "./volume-job.ts";
import type { RecoveryOptions } from "./volume-recovery.ts";
import type { ReencryptOptions } from "./volume-reencrypt.ts";

const ADD_HELP = `
The passphrase gets a keyslot of its own with argon2id. The machine's keyslot stays the preferred one: a boot takes no longer.
It goes to the minion by way of the master's memory; no disk, log or job has it.

  latchkey volume add-recovery web1/data            made here, shown once
  latchkey volume add-recovery web1/data --ask      typed at a prompt
  latchkey volume add-recovery web1/data --stdin    from standard input, the exact bytes
`;

const REENCRYPT_HELP = `
The disk gets a new volume key: who ever had the old one has nothing. The volume must be up and stays in use; it takes as long as
writing every sector, and goes on when this command is interrupted. Stop, restart and lock it as ever: given again, it goes on where it
was. Keyslots of people are lost by it; name them to say so, and add them again afterwards.

Data was lost where power failed in the middle and it went on afterwards: it is refused unless you say that there is a backup.

  latchkey volume reencrypt web1/data --i-have-a-backup
  latchkey volume reencrypt web1/data --i-have-a-backup --drop-slots 2,3
`;

/** Adds `reencrypt` to the group of volume commands. */
export function addReencryptCommand(volume: Command, { context, end }: Setup): void {
  withVolumeTarget(
    volume.command("reencrypt").description("give a volume a new volume key: every sector is written anew"),
  )
    .option("--drop-slots <slots>", "keyslots of people that are lost by it")
    .option("--confirm <name>", "the name of the volume, in place of typing it")
    .option("--i-have-a-backup", "what is on it is kept elsewhere: refused without")
    .addHelpText("after", REENCRYPT_HELP)
    .action(async (target: string, options: ReencryptOptions) => {
      const { reencrypt } = await import("./volume-reencrypt.ts");
      end(await reencrypt(target, options, context()));
    });
}

/** Adds `add-recovery` and `remove-recovery` to the group of volume commands. */
export function addRecoveryCommands(volume: Command, { context, end }: Setup): void {
  withVolumeTarget(volume.command("add-recovery").description("give a person a passphrase for a volume"))
    .option("--ask", "ask for the passphrase in place of making one")
    .option("--stdin", "read the passphrase from standard input")
    .addHelpText("after", ADD_HELP)
    .action(async (target: string, options: RecoveryOptions) => {
      const { addRecovery } = await import("./volume-recovery.ts");
      end(await addRecovery(target, options, context()));
    });
  withVolumeTarget(volume.command("remove-recovery").description("take a person's passphrase from a volume"))
    .requiredOption("--slot <number>", "its keyslot, as `volume status` shows it")
    .action(async (target: string, options: VolumeJobOptions & { readonly slot: string }) => {
      if (!/^(?:[0-9]|[12][0-9]|3[01])$/u.test(options.slot)) {
        throw new ConfigError("bad-slot", `cannot use keyslot "${options.slot}": a number from 0 to 31`);
      }
      const { oneVolume } = await import("./volume-recovery.ts");
      const { id, volume: name } = oneVolume(target);
      const given = { ...options, list: true } as const;
      const job = volumeJob(`${id}/${name}`, "volume.remove_recovery", { slot: Number(options.slot) }, given);
      end(await pushVolumeJob(job, given, context()));
    });
}
