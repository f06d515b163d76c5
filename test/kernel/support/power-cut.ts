import { spawn } from "node:child_process";
import { once } from "node:events";
import { type Host, stdinParts } from "../../../src/core/host.ts";

/** The power went: nothing after it happens, not even an error handler's work on the disk. */
export class PowerCut extends Error {}

/** A host whose power goes just before the first command that `isVictim` picks; nothing more happens after that. */
export function cutBefore(host: Host, isVictim: (argv: readonly string[]) => boolean): Host {
  let dead = false;
  const assertAlive = (): void => {
    if (dead) throw new PowerCut();
  };
  return {
    ...host,
    writeFile: async (path, data, options) => {
      assertAlive();
      await host.writeFile(path, data, options);
    },
    remove: async (path) => {
      assertAlive();
      await host.remove(path);
    },
    run: async (argv, options) => {
      dead ||= isVictim(argv);
      assertAlive();
      return host.run(argv, options);
    },
  };
}

/**
 * A host on which the command that `isVictim` picks gets SIGKILL in the middle: as soon as `hasBegun` sees its first
 * traces on the disk, or when it ends by itself before that is seen.
 */
export function cutDuring(
  host: Host,
  isVictim: (argv: readonly string[]) => boolean,
  hasBegun: () => Promise<boolean>,
): Host {
  let dead = false;
  return {
    ...host,
    remove: async (path) => {
      if (dead) throw new PowerCut();
      await host.remove(path);
    },
    run: async (argv, options) => {
      if (dead) throw new PowerCut();
      if (!isVictim(argv)) return host.run(argv, options);
      dead = true;
      const [file, ...args] = argv;
      const child = spawn(file, args, { stdio: ["pipe", "ignore", "ignore"] });
      const exited = once(child, "exit");
      const stdin = options?.stdin;
      child.stdin.on("error", () => {});
      child.stdin.end(Buffer.concat(stdinParts(stdin)));
      while (child.exitCode === null && !(await hasBegun()));
      child.kill("SIGKILL");
      await exited;
      throw new PowerCut();
    },
  };
}
