import { ConfigError } from "../core/errors.ts";
import type { Context } from "./context.ts";
import { pushVolumeJob, volumeJob, type VolumeJobOptions } from "./volume-job.ts";
import { parseVolumeTarget } from "./volume-target.ts";

/**
 * `volume erase <target>/name`: asks for the name typed out, then kills the keyslots. The header stays in escrow. Status 1 when
 * another name was typed. Throws ConfigError `bad-target` unless exactly one volume is named.
 */
export async function eraseVolumes(
  target: string,
  options: VolumeJobOptions & { readonly force?: true; readonly yesErase?: string },
  context: Context,
): Promise<number> {
  const { terminal, signal } = context;
  const { volumes, minions } = parseVolumeTarget(target);
  const [name] = volumes;
  if (name === undefined || volumes.length !== 1) {
    throw new ConfigError("bad-target", `cannot erase "${target}": name exactly one volume`, {
      hint: "latchkey volume erase web1/data",
    });
  }
  if (options.yesErase === undefined && !terminal.interactive) {
    throw new ConfigError("not-confirmed", "cannot ask for the volume's name: there is no terminal", {
      hint: `add --yes-erase ${name}`,
    });
  }
  terminal.warn(`every keyslot of volume ${name} of ${minions} goes; only its header in escrow brings it back\n`);
  const typed = options.yesErase ?? (await terminal.ask(`type the volume's name to erase it: `, signal));
  if (typed.trim() !== name) {
    terminal.warn("nothing was erased\n");
    return 1;
  }
  const kwargs = options.force ? { force: true } : {};
  return pushVolumeJob(volumeJob(target, "volume.erase", kwargs, options), options, context);
}
