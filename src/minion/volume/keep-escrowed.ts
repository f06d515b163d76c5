import { errorMessage } from "../../core/errors.ts";
import type { HeaderReason } from "../../core/volume-header.ts";
import type { VolumeReport } from "../../core/volume-report.ts";
import { isReencrypting } from "../../states/devices/luks-reencryption.ts";
import { findDrift } from "./drift.ts";
import { escrowHeader, listHeaders } from "./header.ts";
import { inspectHeader } from "./inspect.ts";
import type { Reporting } from "./report.ts";

/** Why a function's header is backed up; what is not listed only opens, closes or grows. */
const REASONS: Readonly<Record<string, HeaderReason>> = {
  "volume.provision": "provision",
  "volume.rotate": "rotate",
  "volume.rotate_resume": "rotate",
  "volume.rotate_finish": "rotate",
  "volume.rotate_rollback": "rotate",
  "volume.reencrypt": "reencrypt",
  "volume.add_recovery": "add-recovery",
  "volume.rescue": "rescue",
  "volume.grow": "grow",
};

/**
 * After something that may have changed keyslots: backs up each header that the master does not have as it is, unless it
 * has drifted (then a check tells what, and what is in escrow stays the measure). So a backup that was cut off, or that an
 * operation left out, is made here. Never throws.
 */
export async function keepEscrowed(
  { machine, volumes }: Reporting,
  fun: string,
  reports: readonly VolumeReport[],
): Promise<void> {
  try {
    const names = reports.filter(({ headerDigest }) => headerDigest !== "").map(({ volume }) => volume);
    if (names.length === 0 || machine.backing.master === undefined) return;
    for (const volume of await volumes.select(names)) {
      const context = await volumes.context(volume);
      const headers = await listHeaders(context);
      const found = await inspectHeader(context);
      if (found === undefined || headers[0]?.digest === found.facts.digest) continue;
      // its end backs it up: until then what is in escrow would read nothing
      if (isReencrypting(found.facts.header.metadata)) continue;
      const { token, slots } = found.facts;
      const isOurs =
        token.kind === "valid" && token.token.state === "committed" && slots.some((one) => one.version > 0);
      const reason = REASONS[fun] ?? (headers.length === 0 ? "provision" : "check");
      const disk = reports.find((report) => report.volume === volume.name)?.disk;
      const drift = disk === undefined ? [] : findDrift(found.facts, headers, disk);
      // commands that make keyslots, and new volumes, are themselves the reason why a header differs
      const isMeant = drift.length === 0 || ["reencrypt", "add-recovery", "rescue", "provision"].includes(reason);
      if (isOurs && isMeant) await escrowHeader(context, reason);
    }
  } catch (thrown) {
    machine.log.warn({ reason: errorMessage(thrown) }, "a LUKS header was not backed up: the next check does it");
  }
}
