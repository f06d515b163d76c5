/** The files that `buildProcesses` makes, by what they run. */
export const PROCESS_FILES = {
  minion: "minion-process.cjs",
  master: "master-process.cjs",
  guest: "guest.cjs",
} as const;
