import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";

/** Who dies: the minion by its own hand, its master, or the whole host with both (it says so, and does nothing more, ever). */
export type Victim = "minion" | "master" | "host";

const struckPath = (path: string): string => `${path}.struck`;

/** Who is to die at which step, once. */
export interface Doom {
  readonly step: string;
  readonly victim: Victim;
  readonly masterPid: number;
}

/** Lays down who dies next, in a file that the minion looks at when it reaches a step. */
export function lay(path: string, doom: Doom): void {
  writeFileSync(`${path}.new`, JSON.stringify(doom));
  renameSync(`${path}.new`, path);
}

/** The doom that this step brings, which then is spent; undefined when it brings none. */
export function takeDoom(path: string, step: string): Doom | undefined {
  if (!existsSync(path)) return undefined;
  const doom = JSON.parse(readFileSync(path, "utf8")) as Doom;
  if (doom.step !== step) return undefined;
  renameSync(path, struckPath(path));
  return doom;
}

/** Whether the doom laid last has struck, and nobody has been let go on since. */
export const hasStruck = (path: string): boolean => existsSync(struckPath(path));

/** Lets whoever was held by a doom go on; nobody is doomed any more. */
export function lift(path: string): void {
  rmSync(path, { force: true });
  rmSync(struckPath(path), { force: true });
}

/** Lets whoever was held by the doom before go on, to meet the one laid now. */
export function letGo(path: string): void {
  rmSync(struckPath(path), { force: true });
}

/** Holds this whole process, in the middle of what it does, until it is let go. */
export function holdUntilLetGo(path: string): void {
  const never = new Int32Array(new SharedArrayBuffer(4));
  while (hasStruck(path)) Atomics.wait(never, 0, 0, 5);
}
