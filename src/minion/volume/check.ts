import { errorMessage, LatchkeyError } from "../../core/errors.ts";
import type { EscrowedHeader } from "../../core/volume-header.ts";
import type { VolumeProblem, VolumeReport } from "../../core/volume-report.ts";
import { isReencrypting } from "../../states/devices/luks-reencryption.ts";
import { writeCheckNote } from "./check-note.ts";
import type { LuksHeader } from "../../states/devices/luks-header.ts";
import { findDrift } from "./drift.ts";
import { escrowHeader, listHeaders } from "./header.ts";
import { findHeaderDifference } from "./known-header.ts";
import { inspectHeader, inspectVolume } from "./inspect.ts";
import { dropRawHeader } from "./raw-header.ts";
import type { VolumeContext } from "./runner.ts";
import { type KeyTest, testStoredKey } from "./stored-key.ts";

/** What a check of one volume showed. */
export interface CheckResult {
  readonly report: VolumeReport;
  /** Undefined for a volume without encryption, or whose header does not read. */
  readonly key: KeyTest | undefined;
  /** Version of the header in escrow that is this very one; 0 when it is not there. */
  readonly escrowed: number;
}

function keyProblems(test: KeyTest): readonly VolumeProblem[] {
  switch (test.kind) {
    case "opens":
      return [];
    case "older": {
      const text = `only version ${test.version} of the stored key opens it, not the current one (${test.current})`;
      return [{ code: "key-not-current", text, fatal: true }];
    }
    case "does-not-open":
      return [{ code: "key-does-not-open", text: "the stored key does not open this volume", fatal: true }];
    case "unknown":
      return [{ code: "not-checked", text: `the stored key could not be tried: ${test.reason}`, fatal: false }];
    default:
      return test satisfies never;
  }
}

/**
 * Checks a volume now: the stored key against the header (no mapping is touched), keyslots and header against what is in
 * escrow, the disk against its fingerprint. A header that is not in escrow and shows no drift is backed up. What was found
 * is kept and part of every report for as long as the header stays the same.
 */
export async function checkVolume(context: VolumeContext): Promise<CheckResult> {
  const { machine, volume, host } = context;
  const found = volume.luks === undefined ? undefined : await inspectHeader(context);
  if (found === undefined) {
    return { report: (await inspectVolume(context)).report, key: undefined, escrowed: 0 };
  }
  const { device, facts } = found;
  const [headers, unheard] = await tryList(context);
  const key = await testStoredKey(context, device, facts, headers);
  if (key.kind === "opens") await dropRawHeader(context);
  const { report } = await inspectVolume(context);
  // two volume keys and their slots: nothing that anybody did to it
  const isUnderWay = isReencrypting(facts.header.metadata);
  const drift = isUnderWay ? [] : findDrift(facts, headers, report.disk);
  const changed = await tryDifference(context, facts.header);
  const problems = [...changed, ...keyProblems(key), ...drift, ...unheard];
  let escrowed = headers.find(({ digest }) => digest === facts.digest)?.version ?? 0;
  const isSound =
    key.kind === "opens" && changed.length === 0 && drift.length === 0 && facts.header.version === 2 && !isUnderWay;
  if (isSound && unheard.length === 0 && headers[0]?.digest !== facts.digest) {
    try {
      escrowed = (await escrowHeader(context, "check")).version;
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
      problems.push({
        code: "not-escrowed",
        text: `the header is not in escrow: ${errorMessage(error)}`,
        fatal: false,
      });
    }
  }
  const now = machine.clock.now();
  const proven = key.kind === "opens" ? { version: key.version, at: now } : { version: 0, at: 0 };
  await writeCheckNote(host, machine.config.stateDir, volume.name, {
    at: now,
    luksUuid: facts.header.uuid,
    headerDigest: facts.digest,
    proven,
    problems: problems.map((one) => ({ ...one, text: one.text.slice(0, 500) })),
  });
  return { report: (await inspectVolume(context)).report, key, escrowed };
}

/** That the header says of its encryption what it did not say before: no start gets a key for it. */
async function tryDifference(context: VolumeContext, header: LuksHeader): Promise<readonly VolumeProblem[]> {
  try {
    const difference = await findHeaderDifference(context, header);
    if (difference === undefined) return [];
    return [
      { code: "header-differs", text: `no key is leased for this header: ${difference}`.slice(0, 500), fatal: true },
    ];
  } catch (error) {
    // that the master cannot be asked is told by what asks for what is in escrow
    if (!(error instanceof LatchkeyError) || context.signal.aborted) throw error;
    return [];
  }
}

/** What is in escrow; nothing, and a problem that says so, when the master cannot be asked. */
async function tryList(
  context: VolumeContext,
): Promise<readonly [readonly EscrowedHeader[], readonly VolumeProblem[]]> {
  try {
    return [await listHeaders(context), []];
  } catch (error) {
    if (!(error instanceof LatchkeyError) || context.signal.aborted) throw error;
    const text = `the master could not be asked for the header in escrow: ${errorMessage(error)}`;
    return [[], [{ code: "not-checked", text, fatal: false }]];
  }
}
