import type { Command } from "commander";
import { ConfigError } from "../core/errors.ts";
import type { Setup } from "./program.ts";
import { type SignOptions, signerOf, withSigner } from "./sign-options.ts";
import type { FinalEraseOptions } from "./volume-erase-final.ts";
import { type VolumeJobOptions, withVolumeTarget } from "./volume-job.ts";
import type { RescueOptions } from "./volume-rescue.ts";

const LOCK_HELP = `
First the master holds every further lease of these volumes (of everything of these hosts when no volume is named), for
hosts that are offline too; then it pushes: dependents are stopped, the volume is unmounted and closed. One that is in
use is suspended: its key is wiped from the kernel, whatever uses it stands still. No key is destroyed.

  latchkey volume lock web1            everything of a host
  latchkey volume lock 'web*'/data     one volume of each
  latchkey volume unlock web1
`;

/** Adds `lock`, `unlock`, `rescue`, `erase` to the group of volume commands. */
export function addProtectCommands(volume: Command, { context, end }: Setup): void {
  withVolumeTarget(volume.command("lock").description("close volumes at once and hold their leases"))
    .addHelpText("after", LOCK_HELP)
    .action(async (target: string, options: VolumeJobOptions) => {
      const { lockVolumes } = await import("./volume-lock.ts");
      end(await lockVolumes("volume.lock", target, options, context()));
    });
  withVolumeTarget(volume.command("unlock").description("release leases again, and bring the volumes up")).action(
    async (target: string, options: VolumeJobOptions) => {
      const { lockVolumes } = await import("./volume-lock.ts");
      end(await lockVolumes("volume.unlock", target, options, context()));
    },
  );
  withVolumeTarget(
    volume
      .command("rescue")
      .description("store a new key of a volume that is up and that its stored key does not open"),
  )
    .option("--ask", "ask for another passphrase of it, in place of the key in the kernel")
    .option("--stdin", "read that passphrase from standard input, its exact bytes")
    .action(async (target: string, options: RescueOptions) => {
      const { rescueVolume } = await import("./volume-rescue.ts");
      end(await rescueVolume(target, options, context()));
    });
  withVolumeTarget(
    volume.command("erase").description("kill all keyslots; the header in escrow can bring the volume back"),
  )
    .option("--yes-erase <name>", "the volume's name, in place of typing it")
    .option("--force", "also when no stored key opens it; recorded")
    .option("--final", "for good: headers in escrow and stored keys go too, once operators have approved")
    .option("--host-gone", "with --final: host or disk are gone for good, its keyslots cannot be erased; recorded")
    .action(async (target: string, options: FinalEraseOptions & { readonly final?: true }) => {
      if (options.hostGone && !options.final) {
        throw new ConfigError("bad-option", "cannot erase on a host that is gone: --host-gone goes with --final alone");
      }
      if (options.final) {
        const { eraseForGood } = await import("./volume-erase-final.ts");
        return end(await eraseForGood(target, options, context()));
      }
      const { eraseVolumes } = await import("./volume-erase.ts");
      end(await eraseVolumes(target, options, context()));
    });
  withSigner(volume.command("erase-approve").description("say yes to erasing a volume for good, as an operator"))
    .argument("<target>", "minion/volume")
    .action(async (target: string, options: SignOptions) => {
      const { approveErasure } = await import("./volume-erase-final.ts");
      end(await approveErasure(target, signerOf(options), context()));
    });
}
