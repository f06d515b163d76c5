import { setTimeout as pause } from "node:timers/promises";
import { HostError } from "../src/core/errors.ts";

/**
 * Looks again and again until `condition` holds (its value is truthy), and returns that value. Throws HostError
 * `lab-timeout` naming `what` when it does not within `timeoutMs`.
 */
export async function waitUntil<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeoutMs: number,
  everyMs = 150,
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new HostError("lab-timeout", `${what}: not within ${timeoutMs} ms`);
    await pause(everyMs);
  }
}
