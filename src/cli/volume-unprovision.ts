import type { JobRequest } from "../core/control-api.ts";
import { ConfigError } from "../core/errors.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";

/**
 * The job with the names of its volumes said a second time: typed, or given as `yes` (several with commas). Undefined when
 * something else was typed. Throws ConfigError `bad-target` when the target names no volume, `not-confirmed` when
 * nobody can be asked or `yes` is not what the target says.
 */
export async function confirmRemoval(
  job: JobRequest,
  yes: string | undefined,
  { terminal, signal }: Context,
): Promise<JobRequest | undefined> {
  const names = job.args.filter((name) => typeof name === "string");
  const hosts = job.target.expr;
  if (names.length === 0) {
    throw new ConfigError("bad-target", "cannot remove volumes that are not named", {
      hint: `name them: ${hosts}/data`,
    });
  }
  const confirmed = { ...job, kwargs: { ...job.kwargs, confirm: [...names] } };
  if (yes !== undefined) {
    if (yes === names.join(",")) return confirmed;
    throw new ConfigError("not-confirmed", `cannot remove ${names.join(", ")}: --yes says "${yes}"`, {
      hint: `write --yes ${names.join(",")}`,
    });
  }
  if (!terminal.interactive) {
    throw new ConfigError("not-confirmed", `cannot remove ${names.join(", ")}: there is no terminal to ask on`, {
      hint: `add --yes ${names.join(",")}`,
    });
  }
  for (const name of names) {
    terminal.warn(
      `This stops volume "${name}" on ${sanitiseLine(hosts)}, erases its keyslots and removes it: what is on it is lost.\n`,
    );
    if ((await terminal.ask("type the name of the volume to go on: ", signal)) === name) continue;
    terminal.warn("nothing was done\n");
    return undefined;
  }
  return confirmed;
}
