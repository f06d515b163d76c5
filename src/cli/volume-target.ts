import { ConfigError } from "../core/errors.ts";

/** What a volume command is aimed at: minions, and the volumes of theirs that are meant (all of them when none is named). */
export interface VolumeTarget {
  readonly minions: string;
  readonly volumes: readonly string[];
}

/** Reads `<target>[/name[,name]]`. Throws ConfigError `bad-target` for an empty part. */
export function parseVolumeTarget(text: string): VolumeTarget {
  const slash = text.indexOf("/");
  if (slash === -1 && text !== "") return { minions: text, volumes: [] };
  const [minions, volumes] = [text.slice(0, slash), text.slice(slash + 1).split(",")];
  if (minions !== "" && volumes.every((name) => /^[a-z0-9][a-z0-9_.-]{0,62}$/u.test(name))) return { minions, volumes };
  throw new ConfigError("bad-target", `cannot use the target "${text}"`, {
    hint: "write minions, or minions/volume: 'web*', web1/data, 'web*'/data,logs",
  });
}
