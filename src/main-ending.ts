import { Interrupted } from "./cli/interrupted.ts";

/** Aborts at the first SIGINT, SIGTERM or SIGHUP; a second one does not wait for an orderly end. Called once a process. */
export function endOnSignals(): AbortSignal {
  const ending = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      const interruption = new Interrupted(signal);
      if (ending.signal.aborted) process.exit(interruption.exitStatus);
      ending.abort(interruption);
    });
  }
  return ending.signal;
}
