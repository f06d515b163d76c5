/** The operator or the system ended the command; `exitStatus` is 128 plus the signal's number, as shells count. */
export class Interrupted extends Error {
  readonly exitStatus: number;

  constructor(signal: "SIGINT" | "SIGTERM" | "SIGHUP") {
    super(`interrupted by ${signal}`);
    this.name = "Interrupted";
    this.exitStatus = 128 + { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }[signal];
  }
}

/** The exit status of an interruption, undefined for any other error. By name: each bundle has its own class. */
export function interruptedStatus(error: unknown): number | undefined {
  const isOne = error instanceof Error && error.name === "Interrupted" && "exitStatus" in error;
  return isOne && typeof error.exitStatus === "number" ? error.exitStatus : undefined;
}
