import { ConfigError } from "../core/errors.ts";
import type { HeaderAccepted } from "../core/volume-header.ts";
import type { Context } from "./context.ts";
import { parseVolumeTarget } from "./volume-target.ts";

/** `volume header accept`: what the master knows of a header counts no more. Throws ConfigError for anything but one volume. */
export async function acceptHeader(target: string, { client, terminal }: Context): Promise<number> {
  const { minions: id, volumes } = parseVolumeTarget(target);
  const [volume, ...others] = volumes;
  if (volume === undefined || others.length > 0 || /[*?[\]]/u.test(id)) {
    throw new ConfigError("bad-target", `cannot accept the header of "${target}"`, {
      hint: "one volume of one minion: web1/data",
    });
  }
  await client.request<HeaderAccepted>("POST", "/v1/headers/accept", { id, volume });
  terminal.print(`the next LUKS header of ${id}/${volume} that its key opens is taken as it is\n`);
  return 0;
}
