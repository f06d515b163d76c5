import type { Command } from "commander";
import type { Setup } from "./program.ts";
import type { CampaignOptions } from "./volume-campaign.ts";
import { pushVolumeJob, volumeJob, type VolumeJobOptions, withVolumeTarget } from "./volume-job.ts";

type RotateOptions = Omit<CampaignOptions, "batch"> & { readonly batch?: string };

const HELP = `
A rotation makes a new version of the key durable at the master, adds it to a free keyslot, proves that slot, makes it the
current one, and only then kills the old slot. Cut short anywhere, it goes on at the next contact, boot or rotate.

  latchkey volume rotate 'web*'                  every encrypted volume of these hosts
  latchkey volume rotate web1/data --keep-old    both keyslots stay
  latchkey volume rotate finish web1/data        the old one goes
  latchkey volume rotate rollback web1/data      the new one goes
  latchkey volume rotate status                  who is on which version
  latchkey volume rotate '*' --batch 10% --max-failures 3 --deadline 2h
                                                 a campaign: hosts that are away rotate in their next startup run
`;

/** Adds `rotate` and what is below it to the group of volume commands. */
export function addRotateCommands(volume: Command, { context, end }: Setup): void {
  const push = async (target: string, fun: string, kwargs: Record<string, boolean>, options: VolumeJobOptions) => {
    end(await pushVolumeJob(volumeJob(target, fun, kwargs, options), options, context()));
  };
  const rotate = withVolumeTarget(volume.command("rotate").description("give volumes a new key"))
    .option("--keep-old", "keep the old keyslot until `rotate finish`")
    .option("--batch <hosts>", "as a campaign, so many hosts at once: 10% or 5")
    .option("--max-failures <count>", "stop the campaign when so many hosts have failed", "1")
    .option("--deadline <time>", "begin nothing after so long; hosts that are away have until then: 30m, 2h", "24h")
    .addHelpText("after", HELP)
    .action(async (target: string, options: RotateOptions) => {
      if (options.batch !== undefined) {
        const { runCampaign } = await import("./volume-campaign.ts");
        return end(await runCampaign(target, { ...options, batch: options.batch }, context()));
      }
      await push(target, "volume.rotate", options.keepOld ? { keep_old: true } : {}, options);
    });
  // options that `rotate` has too are taken by it, wherever they stand
  withVolumeTarget(rotate.command("finish").description("kill the old keyslot that --keep-old kept")).action(
    async (target: string, _options: object, command: Command) =>
      push(target, "volume.rotate_finish", {}, command.optsWithGlobals()),
  );
  withVolumeTarget(rotate.command("rollback").description("go back to the old key while both keyslots exist")).action(
    async (target: string, _options: object, command: Command) =>
      push(target, "volume.rotate_rollback", {}, command.optsWithGlobals()),
  );
  rotate
    .command("stop")
    .description("begin no further batch of the campaign that runs")
    .action(async () => {
      const { stopCampaign } = await import("./volume-campaign.ts");
      end(await stopCampaign(context()));
    });
  rotate
    .command("status")
    .description("which version each volume's key has, and what is under way")
    .argument("[minion]", "one minion's")
    .option("--out <format>", "text, json or yaml", "text")
    .action(async (minion: string | undefined, _options: object, command: Command) => {
      const { showRotations } = await import("./volume-rotate-status.ts");
      const { out } = command.optsWithGlobals<{ out: string }>();
      end(await showRotations(minion, out, context()));
    });
}
