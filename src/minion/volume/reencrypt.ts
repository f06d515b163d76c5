import { ConfigError, errorMessage, HostError } from "../../core/errors.ts";
import type { FileStat } from "../../core/host.ts";
import { isJsonObject } from "../../core/json.ts";
import { findMapping } from "../../states/devices/block-device.ts";
import { holding } from "../../states/devices/held-device.ts";
import { isReencrypting } from "../../states/devices/luks-reencryption.ts";
import { volumeKeyMark } from "../../states/devices/luks-slots.ts";
import { adoptToken, findLuksToken } from "../../states/devices/luks-token.ts";
import { volumePlaces } from "../../states/volume/places.ts";
import type { LeasedKey } from "../../states/state.ts";
import { escrowAfter } from "./after-change.ts";
import { escrowHeader } from "./header.ts";
import { HUMAN_KDF, MACHINE_KDF, readKeyslots, setPriority, slotsOpenedBy } from "./keyslots.ts";
import { type LuksDevice, requireLuks2 } from "./luks-device.ts";
import { adoptProcess, initReencryption, type RunningReencryption, startProcess } from "./reencrypt-process.ts";
import type { VolumeOutcome } from "./rotate.ts";
import type { VolumeContext, VolumeRunner } from "./runner.ts";
import { isVolumeLocked, mappingName } from "./suspended.ts";

/** How often it is taken up again after somebody stopped it to restart the volume. */
const MAX_TAKEN_UP = 100;

/** The machine's run lock: held while keyslots change, never while data is written. */
type RunLock = Pick<VolumeRunner, "exclusively">;

/** Journal key of a volume's re-encryption. */
export const reencryptionNote = (volume: string): string => `reencrypt:${volume}`;

async function isOpen({ host, volume }: VolumeContext): Promise<boolean> {
  return (await findMapping(host, mappingName(volume))) !== undefined && !(await isVolumeLocked(host, volume));
}

/**
 * The LUKS device of a volume that is up. One that is down is not re-encrypted: it could not be started for hours. Throws
 * ConfigError `not-encrypted`, HostError `volume-down`, `no-luks`.
 */
async function requireOpen(context: VolumeContext): Promise<LuksDevice> {
  const { host, volume } = context;
  if (volume.luks === undefined) {
    throw new ConfigError("not-encrypted", `cannot re-encrypt volume "${volume.name}": it is not encrypted`);
  }
  const { encrypted } = await volumePlaces(host, volume);
  const found: FileStat | undefined = encrypted === undefined ? undefined : await host.stat(encrypted);
  if (encrypted === undefined || found === undefined || !(await isOpen(context))) {
    throw new HostError("volume-down", `cannot re-encrypt volume "${volume.name}": it is not open`, {
      hint: "start it first: it stays in use meanwhile, and can be stopped and started at any time",
    });
  }
  return { path: encrypted, luksUuid: (await requireLuks2(context, encrypted)).uuid };
}

function assertSlotsGiven(path: string, others: readonly number[], given: readonly number[]): void {
  const lost = others.filter((slot) => !given.includes(slot));
  if (lost.length === 0) return;
  throw new ConfigError(
    "slots-would-go",
    `cannot re-encrypt "${path}": keyslots ${others.join(", ")} would be gone, since nobody can type their passphrases here`,
    { hint: `say --drop-slots ${others.join(",")} and add them again afterwards`, facts: { slots: [...others] } },
  );
}

/** Makes the second volume key and its keyslot: from here on the header says that a re-encryption is under way. */
async function prepare(
  context: VolumeContext,
  { path, luksUuid }: LuksDevice,
  key: LeasedKey,
  dropSlots: readonly number[],
): Promise<void> {
  const header = await requireLuks2(context, path);
  const token = findLuksToken(header);
  const also = token.kind === "valid" ? token.token.machine.map(({ slot }) => slot) : [];
  const [slot] = await slotsOpenedBy(context, path, header, key, { also });
  if (slot === undefined) {
    throw new HostError(
      "no-stored-key-opens",
      `cannot re-encrypt "${path}": version ${key.version} of its key does not open it`,
    );
  }
  const others = readKeyslots(header).flatMap((one) => (one.slot === slot ? [] : [one.slot]));
  assertSlotsGiven(path, others, dropSlots);
  await escrowHeader(context, "reencrypt");
  await context.begin(reencryptionNote(context.volume.name), {
    luksUuid,
    slot,
    volumeKey: volumeKeyMark(header),
  });
  context.reached("reencrypt:noted");
  const kdf = key.generated ? MACHINE_KDF : HUMAN_KDF;
  await initReencryption(context, path, key, ["--key-slot", String(slot), ...kdf]);
  context.reached("reencrypt:begun");
}

/** Begins one or takes one up; resolves when cryptsetup has its key, which is wiped then, and writes. */
async function begin(context: VolumeContext, dropSlots: readonly number[]): Promise<RunningReencryption> {
  const { path } = await requireOpen(context);
  const running = await adoptProcess(context, path);
  if (running !== undefined) {
    context.note("it is being re-encrypted already: this waits for its end");
    return running;
  }
  return holding(context, path, async (held) => {
    const device = await requireOpen(held);
    return context.lease(
      context.volume.luks?.key ?? "",
      "rotate",
      { ...subjectOf(device), reencrypts: true },
      async (key) => {
        if (isReencrypting((await requireLuks2(held, path)).metadata)) {
          context.note("a re-encryption that was cut short goes on");
        } else await prepare(held, device, key, dropSlots);
        return startProcess(context, held, path, key);
      },
    );
  });
}

const subjectOf = ({ path, luksUuid }: LuksDevice) => ({ device: path, luksUuid });

/** The new slot is proven, preferred, named in the token and in escrow. */
async function finish(given: VolumeContext, path: string): Promise<VolumeOutcome> {
  return holding(given, path, (held) => finishOn(held, path));
}

async function finishOn(context: VolumeContext, path: string): Promise<VolumeOutcome> {
  const { name: volume, luks } = context.volume;
  const { uuid: luksUuid } = await requireLuks2(context, path);
  context.reached("reencrypt:data-written");
  const slot = await context.lease(luks?.key ?? "", "check", { device: path, luksUuid }, async (key) => {
    const header = await requireLuks2(context, path);
    const [opened] = await slotsOpenedBy(context, path, header, key, {
      also: readKeyslots(header).map((one) => one.slot),
    });
    if (opened === undefined) {
      throw new HostError("no-stored-key-opens", `cannot end the re-encryption of "${path}": its key does not open it`);
    }
    await setPriority(context, path, header, opened, "prefer");
    await adoptToken(
      context,
      path,
      { slot: opened, version: key.version },
      { volume, made: context.machine.clock.now() },
    );
    return opened;
  });
  await escrowAfter(context, "reencrypt");
  await context.commit(reencryptionNote(volume));
  context.reached("reencrypt:done");
  return {
    result: true,
    comment: `re-encrypted; its key is in keyslot ${slot}`,
    changes: { "volume key": { from: "old", to: "new" } },
  };
}

const wasStopped = (error: Error | undefined): boolean =>
  error instanceof HostError && /interrupted/iu.test(JSON.stringify(error.facts["stderr"] ?? ""));

/**
 * Gives a volume that is up a new volume key: every sector is written anew while it is in use. The header goes into escrow
 * first. Keyslots other than the stored key's are lost by it, so each has to be named in `dropSlots`. The run lock is held
 * only at both ends: the volume can be looked at, stopped, locked and restarted meanwhile. Cut short anywhere it goes on
 * where it was: cryptsetup keeps its own journal in the header.
 */
export async function reencryptVolume(
  given: VolumeContext,
  dropSlots: readonly number[],
  volumes: RunLock,
): Promise<VolumeOutcome> {
  const context = given.at("luks");
  for (let times = 0; ; times += 1) {
    const { path, ended } = await volumes.exclusively(async () => begin(context, dropSlots));
    const error = await ended;
    context.signal.throwIfAborted();
    // whoever stopped it has the lock: a restart has ended when it is ours again
    const outcome = await volumes.exclusively(async () => {
      const isUnderWay = isReencrypting((await requireLuks2(context, path)).metadata);
      return isUnderWay ? undefined : finish(context, path);
    });
    if (outcome !== undefined) return outcome;
    if (wasStopped(error) && (await isOpen(context)) && times < MAX_TAKEN_UP) continue;
    const why = error === undefined || wasStopped(error) ? "it was stopped" : errorMessage(error);
    throw new HostError("not-reencrypted", `cannot end the re-encryption of "${path}": ${why}`, {
      hint: "`latchkey volume reencrypt` goes on with it, and so does the minion by itself when it starts and the volume is up",
    });
  }
}

/** Goes on with a re-encryption that was cut short; one that had not begun on the disk, or is complete, is only noted as such. */
export async function resumeReencryption(given: VolumeContext, volumes: RunLock): Promise<VolumeOutcome> {
  const context = given.at("luks");
  const { name } = context.volume;
  const { path } = await requireOpen(context);
  if (isReencrypting((await requireLuks2(context, path)).metadata)) return reencryptVolume(given, [], volumes);
  const noted = await context.pending(reencryptionNote(name));
  const mark = volumeKeyMark(await requireLuks2(context, path));
  // written to the end, and cut short before its slot was named
  if (isJsonObject(noted) && noted["volumeKey"] !== mark) return volumes.exclusively(async () => finish(context, path));
  await context.commit(reencryptionNote(name));
  return { result: true, comment: "no re-encryption is under way", changes: {} };
}
