import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { InjectedFile, LabHost } from "./host.ts";
import { type Leak, searchBytes, searchFile, searchTree } from "./leak-search.ts";
import type { Needle } from "../src/core/needles.ts";
import type { Scene } from "./scene.ts";

const guestFile = (name: string, mode: number): InjectedFile => ({
  text: readFileSync(join(import.meta.dirname, "guest", name), "utf8"),
  mode,
});

/** The files that make a host note its processes' command lines and environments from before the minion starts. */
export function samplerFiles(): Readonly<Record<string, InjectedFile>> {
  const unit = "/etc/systemd/system/lab-sampler.service";
  return {
    "/usr/local/sbin/lab-sampler": guestFile("sampler.pl", 0o755),
    "/usr/local/sbin/lab-copy-memory": guestFile("copy-memory.pl", 0o755),
    [unit]: {
      text: `[Unit]
Before=latchkey-minion.service
[Service]
ExecStart=/usr/bin/perl /usr/local/sbin/lab-sampler
`,
    },
    "/etc/systemd/system/multi-user.target.wants/lab-sampler.service": { link: unit },
  };
}

/** Copies the memory of a process of the host, and returns the path of the copy on this machine. */
export async function copyMemory(host: LabHost, pid: string): Promise<string> {
  await host.run(`lab-copy-memory ${pid} /lab/memory-${pid}`, { timeoutMs: 120_000 });
  return join(host.share, `memory-${pid}`);
}

/** The places where a thief or a careless reader could find a key, each with the search of it. */
export function placesOf(
  scene: Scene,
  host: LabHost,
  memoryPid: () => Promise<string>,
): Readonly<Record<string, (needles: readonly Needle[]) => Promise<readonly Leak[]>>> {
  const inFile = (path: string) => async (needles: readonly Needle[]) => searchFile(path, needles);
  return {
    "the host's root disk": inFile(host.rootDisk),
    "the host's data disk": inFile(host.dataDisk),
    "the host's console and journal": inFile(host.console.path),
    "command lines and environments in the host": inFile(join(host.share, "process-samples")),
    "the minion's memory": async (needles) => {
      const copy = await copyMemory(host, await memoryPid());
      try {
        return searchFile(copy, needles);
      } finally {
        rmSync(copy);
      }
    },
    "the master's log": inFile(scene.master.logPath),
    "the master's state directory": async (needles) => searchTree(scene.master.stateDirectory, needles),
    "job returns, pillar and leases as the master prints them": async (needles) =>
      searchBytes("what the master prints", Buffer.from(await scene.printed(host.name)), needles),
  };
}
