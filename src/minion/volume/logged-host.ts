import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import type { Logger } from "../../core/log.ts";
import type { LayerKind } from "../../states/volume/layer.ts";

/** The first words of a command, as people call it: `cryptsetup luksOpen`, `systemctl stop`. */
function shortName([program, first = ""]: readonly [string, ...string[]]): string {
  const base = program.slice(program.lastIndexOf("/") + 1);
  return /^[a-z][A-Za-z]*$/u.test(first) ? `${base} ${first}` : base;
}

/**
 * The host, with every command that is run written to the log with its volume, layer, duration and result:
 * `cryptsetup luksOpen … exit 0 in 17 ms`. No further argument is written, nor anything that goes through a pipe.
 */
export function loggedHost(host: Host, log: Logger, volume: string, layer: LayerKind): Host {
  return {
    ...host,
    run: async (argv, options) => {
      const name = shortName(argv);
      const from = performance.now();
      const tell = (result: string, facts: object) => {
        const ms = Math.round(performance.now() - from);
        log.info({ volume, layer, ms, ...facts }, `${name} … ${result} in ${ms} ms`);
      };
      try {
        const result = await host.run(argv, options);
        tell(`exit ${result.exitCode}`, { exitCode: result.exitCode });
        return result;
      } catch (error) {
        const exitCode = error instanceof HostError ? error.facts["exitCode"] : undefined;
        const how = error instanceof HostError ? error.code.replace(/^command-/u, "") : "failed";
        if (typeof exitCode === "number") tell(`exit ${exitCode}`, { exitCode });
        else tell(how, {});
        throw error;
      }
    },
  };
}
