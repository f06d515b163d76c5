import { closeSync, openSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { MinionConfig } from "../config.ts";
import { readHygiene } from "../hygiene.ts";
import { codeOf, type Hunt } from "./hunt.ts";
import type { Place } from "./place-names.ts";
import { presentRanges } from "./present-pages.ts";

/** What the places are on this machine. */
export interface Ground {
  readonly config: Pick<MinionConfig, "stateDir" | "cacheDir" | "runDir">;
  /** A file that is searched as if it were a swap device: where swap is planted. */
  readonly swapStandIn: string | undefined;
}

const JOURNALS = "/run/log/journal";

/** Jobs under way and returns that the master does not have yet. */
export const spoolDirectories = (stateDir: string) => [join(stateDir, "returns"), join(stateDir, "jobs")];

/** Searches one place that is a matter of files; `processes` are sampled elsewhere. */
export async function huntIn(place: Exclude<Place, "processes">, hunt: Hunt, ground: Ground): Promise<void> {
  const { stateDir, cacheDir, runDir } = ground.config;
  const spool = spoolDirectories(stateDir);
  switch (place) {
    case "memory":
      return huntInMemory(hunt);
    case "spool":
      return hunt.trees(spool);
    case "state":
      return hunt.trees(
        [stateDir, cacheDir].filter((path, index) => index === 0 || !path.startsWith(`${stateDir}/`)),
        (path) => spool.includes(path) || path === ground.swapStandIn,
      );
    case "own-log":
      return huntInOwnLog(hunt);
    case "temp": {
      const own = new Set([stateDir, cacheDir, JOURNALS, ...ownLogs()]);
      await hunt.trees(["/tmp", "/var/tmp", "/dev/shm", "/run", runDir], (path) => own.has(path));
      return;
    }
    case "logs":
      return hunt.trees(["/var/log", JOURNALS]);
    case "swap":
      return huntInSwap(hunt, ground.swapStandIn);
    default:
      return place satisfies never;
  }
}

/** Every range of this process's own memory that could have been written to (proc(5), maps). */
async function huntInMemory(hunt: Hunt): Promise<void> {
  const lines = readFileSync("/proc/self/maps", "utf8").split("\n");
  const memory = openSync("/proc/self/mem", "r");
  try {
    for (const line of lines) {
      const [, from = "", to = "", rights = "", path = ""] =
        /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)$/u.exec(line) ?? [];
      const isPlainFile = path.startsWith("/") && !rights.includes("w");
      if (!rights.startsWith("r") || isPlainFile || path.startsWith("[v")) continue;
      const where = `${from}-${to} ${path}`.trimEnd();
      const mapping = { from: Number.parseInt(from, 16), to: Number.parseInt(to, 16) };
      // of a file's pages some are in memory that this process has not looked at
      const parts = path.startsWith("/") ? [mapping] : presentRanges(mapping);
      for (const present of parts) await hunt.range(where, memory, present.from, present.to);
    }
  } finally {
    closeSync(memory);
  }
}

function ownLogs(): readonly string[] {
  return [1, 2].flatMap((descriptor) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${descriptor}`);
      return path.startsWith("/") && !path.startsWith("/dev/") ? [path] : [];
    } catch {
      // closed
      return [];
    }
  });
}

async function huntInOwnLog(hunt: Hunt): Promise<void> {
  const files = new Set(ownLogs());
  if (files.size === 0)
    hunt.skip("standard error is no file: what it goes to is searched as logs, where it is kept here");
  for (const path of files) await hunt.file(path);
}

async function huntInSwap(hunt: Hunt, standIn: string | undefined): Promise<void> {
  const areas = readHygiene().swap;
  if (areas.length === 0) hunt.skip("the machine has no swap");
  if (standIn !== undefined) await hunt.file(standIn);
  for (const { path, bytes } of areas) {
    try {
      const device = openSync(path, "r");
      try {
        await hunt.range(path, device, 0, bytes);
      } finally {
        closeSync(device);
      }
    } catch (thrown) {
      hunt.skip(`${path}: ${codeOf(thrown)}`);
    }
  }
}
