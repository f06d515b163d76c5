/** How the minion is to start. */
export interface MinionStart {
  /** undefined: the usual one. */
  readonly configPath: string | undefined;
}

/**
 * What `minion` and `minion --config FILE` ask for, word for word as units write them; undefined for anything else, which
 * the whole command line looks at.
 */
export function plainMinion(args: readonly string[]): MinionStart | undefined {
  const [command, option, configPath, ...more] = args;
  if (command !== "minion" || more.length > 0) return undefined;
  if (option === undefined) return { configPath: undefined };
  const isConfig = option === "-c" || option === "--config";
  return isConfig && configPath !== undefined && !configPath.startsWith("-") ? { configPath } : undefined;
}
