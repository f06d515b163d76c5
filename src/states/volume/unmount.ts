import { HostError } from "../../core/errors.ts";
import { waitFor } from "../devices/wait-for.ts";
import type { Change } from "../state.ts";
import type { DownPart } from "./down-parts.ts";
import { describeHolders, findHolders, type Holders, isAlive, type ProcessHolder } from "./holders.ts";
import type { StackContext } from "./stack-context.ts";

const END_MS = 5000;
const INIT = 1;
const MAX_SHOWN = 20;

const isBusy = (thrown: unknown): boolean => thrown instanceof HostError && thrown.code === "device-busy";

function busy(point: string, holders: Holders): HostError {
  const lines = describeHolders(holders);
  const shown = lines.slice(0, MAX_SHOWN);
  if (lines.length > shown.length) shown.push(`and ${lines.length - shown.length} more`);
  const who = shown.length === 0 ? "" : `\n  ${shown.join("\n  ")}`;
  const message = `cannot unmount "${point}": it is in use${shown.length === 0 ? "" : " by"}${who}`;
  const { processes, mounts, loops, swaps } = holders;
  const others = mounts.length + loops.length + swaps.length;
  const hint =
    lines.length === 0
      ? "no process holds it: look for an NFS export, or a mount in a container"
      : others > 0
        ? "unmount, detach or swap off what is in it first"
        : "end them, or stop with --kill-holders";
  return new HostError("mount-busy", message, { hint, facts: { point, pids: processes.map(({ pid }) => pid) } });
}

async function signalAll(context: StackContext, signal: "TERM" | "KILL", holders: readonly ProcessHolder[]) {
  const { host } = context;
  const alive: ProcessHolder[] = [];
  for (const holder of holders) if (await isAlive(host, holder)) alive.push(holder);
  if (alive.length === 0) return;
  // one that ended in between is no failure
  await host.run(["kill", `-${signal}`, "--", ...alive.map(({ pid }) => String(pid))], { okCodes: [0, 1, 64] });
}

async function areGone(context: StackContext, holders: readonly ProcessHolder[]): Promise<boolean> {
  for (const holder of holders) if (await isAlive(context.host, holder)) return false;
  return true;
}

/** Ends the processes that hold the mount: TERM, and after five seconds KILL. Neither init nor this process. */
async function endHolders(context: StackContext, point: string): Promise<void> {
  const { processes } = await findHolders(context.host, point);
  const victims = processes.filter(({ pid }) => pid !== INIT && pid !== process.pid);
  if (victims.length === 0) return;
  for (const signal of ["TERM", "KILL"] as const) {
    await signalAll(context, signal, victims);
    try {
      const options = { timeoutMs: END_MS, signal: context.signal };
      await waitFor("the end of the holders", () => areGone(context, victims), options);
      break;
    } catch (error) {
      if (!(error instanceof HostError) || error.code !== "not-in-time") throw error;
    }
  }
  const names = victims.map(({ name, pid }) => `${name} (pid ${pid})`).join(", ");
  context.note(`ended what held ${point}: ${names}`);
}

/**
 * Unmounts by the single state; returns what it found to do. One that is in use is an error `mount-busy` that names who
 * uses it; with `killHolders` processes are ended first, and nothing else ever is.
 */
export async function unmount(
  context: StackContext,
  { state, params, subject }: DownPart,
  killHolders: boolean,
): Promise<readonly Change[]> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const found = await state.check(params, context);
      if (found.length > 0) await state.apply(params, context, found);
      return found;
    } catch (thrown) {
      if (!isBusy(thrown)) throw thrown;
      if (!killHolders || attempt > 2) throw busy(subject, await findHolders(context.host, subject));
      await endHolders(context, subject);
    }
  }
}
