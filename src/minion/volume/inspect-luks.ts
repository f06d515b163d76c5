import { createHash } from "node:crypto";
import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import { MAX_HEADER_BYTES } from "../../core/volume-header.ts";
import type { VolumeProblem, VolumeReport } from "../../core/volume-report.ts";
import { findMapping, isOnDevice } from "../../states/devices/block-device.ts";
import { findMisfit, MISFIT_HINT } from "../../states/devices/luks-fit.ts";
import { type LuksHeader, readLuksHeader } from "../../states/devices/luks-header.ts";
import { headerFault } from "../../states/devices/luks-layout.ts";
import { isReencrypting, reencryptedBytes } from "../../states/devices/luks-reencryption.ts";
import { type Keyslot, keyslotsOf, luksHeaderBytes, luksSegment } from "../../states/devices/luks-slots.ts";
import { findLuksToken, type TokenFinding } from "../../states/devices/luks-token.ts";
import { findSignatures, SIGNATURE_SPAN } from "../../states/devices/signatures.ts";
import type { VolumePlaces } from "../../states/volume/places.ts";
import { baseDevices, type Finding, type InspectContext, layerStatus, tryDevice, tryRange } from "./layer-status.ts";

const CHUNK_BYTES = 256 * 1024;

/** A LUKS device as it stands. */
export interface LuksFacts {
  readonly header: LuksHeader;
  readonly token: TokenFinding;
  readonly slots: readonly (Keyslot & { readonly version: number })[];
  /** SHA-256 over the whole header, hex; "" when it is too big or LUKS1. */
  readonly digest: string;
}

/** What was found where LUKS should be. */
export interface LuksFinding extends Finding {
  readonly facts: LuksFacts | undefined;
  readonly isOpen: boolean;
}

async function digestOf(host: Host, path: string, header: LuksHeader): Promise<string> {
  const bytes = luksHeaderBytes(header);
  if (bytes === 0 || bytes > MAX_HEADER_BYTES || !header.atStart) return "";
  const hash = createHash("sha256");
  for (let at = 0; at < bytes; at += CHUNK_BYTES) {
    const want = Math.min(CHUNK_BYTES, bytes - at);
    const chunk = await host.readRange(path, at, want);
    if (chunk?.length !== want) return "";
    hash.update(chunk);
  }
  return hash.digest("hex");
}

/** The header of a LUKS device with token, slots and digest; undefined when no copy of it reads. No process is started. */
export async function readLuksFacts(host: Host, path: string): Promise<LuksFacts | undefined> {
  const finding = await readLuksHeader(host, path);
  if (finding.kind !== "valid") return undefined;
  const { header } = finding;
  const token = findLuksToken(header);
  const machine = token.kind === "valid" ? token.token.machine : [];
  const versions = new Map(machine.map(({ slot, version }) => [slot, version]));
  const slots = keyslotsOf(header).map((slot) => ({ ...slot, version: versions.get(slot.slot) ?? 0 }));
  return { header, token, slots, digest: await digestOf(host, path, header) };
}

/** The keyslots as a report tells of them. */
export function reportedSlots({ slots }: Pick<LuksFacts, "slots">): VolumeReport["slots"] {
  return slots.map(({ slot, kdf, priority, version }) => ({ slot, kdf, priority, version }));
}

function problemsOf(device: string, bytes: number, { header, token, slots }: LuksFacts): readonly VolumeProblem[] {
  const problem = (code: string, text: string, fatal: boolean): VolumeProblem => ({ code, text, fatal });
  if (header.version === 1) return [problem("luks1", `"${device}" has a LUKS1 header: no key is leased for it`, true)];
  const found: VolumeProblem[] = [];
  const fault = headerFault(header);
  if (fault !== undefined)
    found.push(problem("header-unsafe", `no key is leased for this header: ${fault}`.slice(0, 500), true));
  const misfit = findMisfit(header, bytes);
  if (misfit !== undefined) {
    const text = `"${device}" ${misfit}: the next boot fails; ${MISFIT_HINT}`;
    found.push(problem("device-misaligned", text, true));
  }
  if (!header.atStart) found.push(problem("header-damaged", "the first copy of the LUKS header is gone", true));
  if (slots.length === 0) found.push(problem("no-keyslot", "the LUKS header has no keyslot left", true));
  if (token.kind === "damaged")
    found.push(problem("token-damaged", "the header's latchkey token does not read", false));
  if (token.kind !== "valid") return found;
  if (token.token.state === "formatting") {
    found.push(
      problem("format-unfinished", "the format was cut short: the next start proves it or does it again", false),
    );
  } else if (token.token.machine.length === 0 && slots.length > 0) {
    found.push(problem("machine-slot-gone", "no keyslot of the master's key is left in the header", true));
  }
  return found;
}

/** The LUKS layer; nothing for a volume that is not encrypted. */
export async function inspectLuks(context: InspectContext, { encrypted, mapping }: VolumePlaces): Promise<LuksFinding> {
  const { host, volume } = context;
  if (volume.luks === undefined || mapping === undefined) {
    return { layers: [], problems: [], facts: undefined, isOpen: false };
  }
  const name = volume.luks.name ?? volume.name;
  const device = encrypted === undefined ? undefined : await tryDevice(host, encrypted);
  const mapped = await findMapping(host, name);
  const problems: VolumeProblem[] = [];
  const below = { device: encrypted ?? "", sub: encrypted === undefined ? [] : [encrypted] };
  const isOurs = mapped !== undefined && device !== undefined && (await isOnDevice(host, mapped.kernelName, device));
  if (mapped !== undefined && !isOurs) {
    problems.push({ code: "mapping-taken", text: `"${name}" is another device's mapping`, fatal: true });
  }
  if (device === undefined || encrypted === undefined) {
    const state = mapped === undefined ? "down" : "warn";
    return { layers: [layerStatus("luks", name, state, below)], problems, facts: undefined, isOpen: false };
  }
  const facts = await tryFacts(host, encrypted);
  const base = await baseDevices(host, device.kernelName);
  const about = { ...below, base, bytes: device.bytes, exposed: isOurs ? [mapping] : [] };
  if (facts === undefined) {
    const start = (await tryRange(host, encrypted, SIGNATURE_SPAN)) ?? Buffer.alloc(0);
    const [other] = findSignatures(start);
    const isDamaged = (await readLuksHeader(host, encrypted)).kind === "damaged" || isOurs;
    if (isDamaged) problems.push({ code: "header-damaged", text: "the LUKS header does not read", fatal: true });
    else if (other !== undefined) {
      const text = `"${encrypted}" has a signature: ${other.kind}, and is not LUKS`;
      problems.push({ code: "wrong-device", text, fatal: true });
    }
    const state = isDamaged || other !== undefined ? "warn" : "not-provisioned";
    return { layers: [layerStatus("luks", name, state, about)], problems, facts, isOpen: isOurs };
  }
  problems.push(...problemsOf(encrypted, device.bytes, facts));
  const { header, token, slots } = facts;
  const { cipher, offset } = luksSegment(header);
  const isWarned = problems.length > 0;
  const layer = layerStatus("luks", name, isWarned ? "warn" : isOurs ? "up" : "down", {
    ...about,
    details: {
      open: isOurs,
      uuid: header.uuid,
      label: header.label,
      cipher,
      offset,
      keyVersion: Math.max(0, ...slots.map(({ version }) => version)),
      token: token.kind === "valid" ? token.token.state : token.kind,
      ...(isReencrypting(header.metadata) ? { reencrypted: reencryptedBytes(header.metadata) } : {}),
      slots: reportedSlots(facts).map((slot) => ({ ...slot })),
    },
  });
  return { layers: [layer], problems, facts, isOpen: isOurs };
}

async function tryFacts(host: Host, path: string): Promise<LuksFacts | undefined> {
  try {
    return await readLuksFacts(host, path);
  } catch (error) {
    // a disk that does not read shows by itself
    if (error instanceof HostError) return undefined;
    throw error;
  }
}
