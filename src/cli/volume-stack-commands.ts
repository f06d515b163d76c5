import type { Command } from "commander";
import type { JsonObject } from "../core/json.ts";
import type { Setup } from "./program.ts";
import { pushVolumeJob, volumeJob, type VolumeJobOptions, withVolumeTarget } from "./volume-job.ts";

interface DownOptions extends VolumeJobOptions {
  readonly force?: true;
  readonly killHolders?: true;
}

const downArguments = ({ force, killHolders }: DownOptions): JsonObject => ({
  ...(force === true ? { force } : {}),
  ...(killHolders === true ? { kill_holders: true } : {}),
});

/** Adds what brings volumes up and takes them down: plan, provision, start, stop, restart, unprovision. */
export function addStackCommands(volume: Command, { context, end }: Setup): void {
  const push = async (target: string, fun: string, options: VolumeJobOptions, kwargs: JsonObject = {}) => {
    end(await pushVolumeJob(volumeJob(target, fun, kwargs, options), options, context()));
  };
  for (const [name, description] of [
    ["plan", "show what provision or start would do; nothing is changed"],
    ["provision", "make volumes on blank devices, and bring them up"],
    ["start", "bring up provisioned volumes; never formats"],
  ] as const) {
    withVolumeTarget(volume.command(name).description(description)).action(
      async (target: string, options: VolumeJobOptions) => push(target, `volume.${name}`, options),
    );
  }
  for (const [name, description] of [
    ["stop", "stop what depends on volumes, unmount and close them"],
    ["restart", "stop volumes and start them again"],
  ] as const) {
    withVolumeTarget(volume.command(name).description(description))
      .option("--kill-holders", "end processes that hold the mount: TERM, then KILL")
      .option("--force", "skip the safeguard that a stored key must open it again (audited)")
      .action(async (target: string, options: DownOptions) =>
        push(target, `volume.${name}`, options, downArguments(options)),
      );
  }
  withVolumeTarget(volume.command("unprovision").description("erase a volume's keyslots and remove it, for good"))
    .option("--kill-holders", "end processes that hold the mount: TERM, then KILL")
    .option("--force", "skip the safeguard that a stored key must open it again (audited)")
    .option("--yes <name>", "the volume's name, in place of typing it when asked")
    .action(async (target: string, options: DownOptions & { readonly yes?: string }) => {
      const { confirmRemoval } = await import("./volume-unprovision.ts");
      const job = volumeJob(target, "volume.unprovision", downArguments(options), options);
      const confirmed = await confirmRemoval(job, options.yes, context());
      end(confirmed === undefined ? 1 : await pushVolumeJob(confirmed, options, context()));
    });
}
