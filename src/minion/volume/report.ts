import { errorMessage } from "../../core/errors.ts";
import type { VolumeReport } from "../../core/volume-report.ts";
import type { Backing } from "../backing.ts";
import type { Machine } from "../machine.ts";
import { inspectVolume } from "./inspect.ts";
import type { VolumeRunner } from "./runner.ts";

/** How long a report waits for the master: the next one says it again. */
const REPORT_WAIT_MS = 5000;

/** What telling the master needs. */
export interface Reporting {
  readonly machine: Pick<Machine, "log"> & { readonly backing: Pick<Backing, "master"> };
  readonly volumes: Pick<VolumeRunner, "select" | "context">;
}

/**
 * Looks at the declared volumes (or those named) and tells the master what it saw. Never throws: what it reports on is
 * done already, and must not fail because nobody listens. Returns what it saw.
 */
export async function reportVolumes(
  { machine, volumes }: Reporting,
  names: readonly string[] = [],
): Promise<readonly VolumeReport[]> {
  try {
    const reports: VolumeReport[] = [];
    for (const volume of await volumes.select(names)) {
      reports.push((await inspectVolume(await volumes.context(volume))).report);
    }
    const { master } = machine.backing;
    if (reports.length === 0 || master === undefined) return reports;
    const signal = AbortSignal.timeout(REPORT_WAIT_MS);
    await master.link.ask("volume.report", { reports }, { waitMs: REPORT_WAIT_MS, signal });
    return reports;
  } catch (thrown) {
    machine.log.warn({ reason: errorMessage(thrown) }, "the master was not told of the volumes");
    return [];
  }
}
