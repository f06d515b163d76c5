import type { Command } from "commander";
import { HELP } from "./help.ts";
import type { Setup } from "./program.ts";
import { addRecoveryCommands, addReencryptCommand } from "./volume-recovery-commands.ts";
import { addLookCommands } from "./volume-look-commands.ts";
import { addProtectCommands } from "./volume-protect-commands.ts";
import { addRotateCommands } from "./volume-rotate-commands.ts";
import { addStackCommands } from "./volume-stack-commands.ts";

/** Adds the group of commands on volumes. */
export function addVolumeCommands(program: Command, setup: Setup): void {
  const volume = program.command("volume").description("the encrypted volumes of minions");
  volume.addHelpText("after", HELP.volume);
  addStackCommands(volume, setup);
  addRotateCommands(volume, setup);
  addRecoveryCommands(volume, setup);
  addReencryptCommand(volume, setup);
  addLookCommands(volume, setup);
  addProtectCommands(volume, setup);
}
