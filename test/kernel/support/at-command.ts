import type { Host } from "../../../src/core/host.ts";

/** The host, on which `act` is done once at the last moment before a command that has all these words begins. */
export function atCommand(host: Host, words: readonly string[], act: () => Promise<void>): Host {
  let isDone = false;
  return {
    ...host,
    run: async (argv, options) => {
      if (!isDone && words.every((word) => argv.includes(word))) {
        isDone = true;
        await act();
      }
      return host.run(argv, options);
    },
  };
}
