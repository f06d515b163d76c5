import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import type { Logger } from "../../core/log.ts";
import type { LayerKind } from "../../states/volume/layer.ts";

/** The first words of a command, as people call it: `cryptsetup luksOpen`, `systemctl stop`. */
function shortName([program, first = ""]: readonly [string, ...string[]]): string {
  const base = program.slice(program.lastIndexOf("/") + 1);
  return /^[a-z][A-Za-z]*$/u.test(first) ? `${base} ${first}` : base;
}

/** What a command is run for: a layer of a volume, or a single state of storage and what that is about. */
export type CommandSubject =
  | { readonly volume: string; readonly layer: LayerKind }
  | { readonly state: string; readonly subject: string; readonly layer: LayerKind };

/**
 * The host, with every command that is run written to the log with what it is run for, duration and result:
 * `cryptsetup luksOpen … exit 0 in 17 ms`. No further argument is written, nor anything that goes through a pipe.
 */
export function loggedHost(host: Host, log: Logger, about: CommandSubject): Host {
  return {
    ...host,
    run: async (argv, options) => {
      const name = shortName(argv);
      const from = performance.now();
      const tell = (result: string, facts: object) => {
        const ms = Math.round(performance.now() - from);
        log.info({ ...about, ms, ...facts }, `${name} … ${result} in ${ms} ms`);
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
