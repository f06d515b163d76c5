import { spawn } from "node:child_process";
import { once } from "node:events";
import { HostError } from "../src/core/errors.ts";

/**
 * Does `work` while no other process of this machine holds the lock file; waits for as long as it takes. The lock is held
 * by a child (flock) that ends with this process however this one ends, so a dead holder never keeps others out.
 */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const holder = spawn("flock", [path, "sh", "-c", "echo held; cat >/dev/null"], { stdio: ["pipe", "pipe", "ignore"] });
  const ended = once(holder, "exit");
  const held = await Promise.race([once(holder.stdout, "data").then(() => true), ended.then(() => false)]);
  if (!held) throw new HostError("lock-failed", `cannot lock "${path}"`);
  try {
    return await work();
  } finally {
    holder.stdin.end();
    await ended;
  }
}
