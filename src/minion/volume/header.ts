import { sha256 } from "../../core/crypto/hash.ts";
import { HostError, ProtocolError } from "../../core/errors.ts";
import { KeyedLanes } from "../../core/keyed-lanes.ts";
import {
  type EscrowedHeader,
  HEADER_CHUNK_BYTES,
  type HeaderReason,
  type HeaderSlot,
  MAX_HEADER_BYTES,
} from "../../core/volume-header.ts";
import { holding } from "../../states/devices/held-device.ts";
import { type LuksHeader, parseLuksBytes, readLuksHeader } from "../../states/devices/luks-header.ts";
import { keyslotsOf, luksHeaderBytes, volumeKeyMark } from "../../states/devices/luks-slots.ts";
import { findLuksToken } from "../../states/devices/luks-token.ts";
import { volumePlaces } from "../../states/volume/places.ts";
import { keyFileDirectories, withKeyFilePath } from "../key-file.ts";
import { readDiskFingerprint } from "./inspect.ts";
import { tryDevice } from "./layer-status.ts";
import { assertKnownHeader } from "./known-header.ts";
import type { VolumeContext } from "./runner.ts";

/** What became of a backup. */
export interface Escrowed {
  /** Its version at the master. */
  readonly version: number;
  readonly digest: string;
  /** False when the master had these very bytes already. */
  readonly isNew: boolean;
}

/** Commands of operators that make keyslots: what is new in the header then is meant to be there. */
const VOUCHING: ReadonlySet<HeaderReason> = new Set(["provision", "reencrypt", "add-recovery", "rescue", "operator"]);

/** The master takes in one upload a volume: a second one would cut the first off. */
const uploads = new KeyedLanes();

/**
 * Backs a volume's LUKS header up to the master, which keeps it encrypted: to be called after every change of keyslots.
 * Resolves when it is on the master's disk and was read back there; these very bytes are kept once. Cut off at any point,
 * the next call (or the next check, which sees that the digests differ) does it anew. Throws HostError `no-luks`,
 * `header-too-big`, TransportError when the master cannot be reached, AuthError when it refuses.
 */
export async function escrowHeader(given: VolumeContext, reason: HeaderReason): Promise<Escrowed> {
  const place = `${given.machine.config.stateDir} ${given.volume.name}`;
  return uploads.run(place, async () => escrow(given.at("luks"), reason));
}

async function escrow(context: VolumeContext, reason: HeaderReason): Promise<Escrowed> {
  const { volume, host } = context;
  const { encrypted = "" } = await volumePlaces(host, volume);
  const device = await tryDevice(host, encrypted);
  const bytes = await holding(context, encrypted, (held) => readBackup(held, encrypted));
  try {
    const digest = sha256(bytes).toString("hex");
    context.reached("header:read");
    const finding = await parseLuksBytes(bytes);
    if (finding.kind !== "valid") throw noLuks(encrypted);
    const { header } = finding;
    await assertKnownHeader(context, header, encrypted);
    const earlier = await listHeaders(context);
    const facts = {
      volume: volume.name,
      digest,
      bytes: bytes.length,
      luksUuid: header.uuid,
      reason,
      device: encrypted,
      deviceBytes: device?.bytes ?? 0,
      disk: await readDiskFingerprint(context),
      slots: judgeSlots(header, earlier, reason),
      volumeKey: volumeKeyMark(header),
    };
    const { link } = context.master();
    const offered = await link.ask("header.offer", { facts }, context.patience);
    if (offered.verdict === "known") return { version: offered.version, digest, isNew: false };
    const { upload } = offered;
    for (let offset = 0; offset < bytes.length; offset += HEADER_CHUNK_BYTES) {
      const data = Uint8Array.from(bytes.subarray(offset, offset + HEADER_CHUNK_BYTES));
      // not repeated when the answer is lost: the whole upload is begun anew then
      await link.connection.request("header.chunk", { upload, offset, data }, { signal: context.signal });
    }
    context.reached("header:sent");
    const { version } = await link.connection.request("header.store", { upload }, { signal: context.signal });
    context.reached("header:stored");
    context.note(`the LUKS header is in escrow as version ${version}`);
    return { version, digest, isNew: true };
  } finally {
    bytes.fill(0);
  }
}

const noLuks = (device: string) =>
  new HostError("no-luks", `cannot back up the header of "${device}": it has no sound LUKS2 header`, {
    facts: { path: device },
  });

/** The header as `cryptsetup luksHeaderBackup` writes it, by way of a file on a tmpfs that is wiped. */
async function readBackup({ host, machine, signal }: VolumeContext, device: string): Promise<Buffer> {
  const finding = await readLuksHeader(host, device);
  if (finding.kind !== "valid" || finding.header.version !== 2) throw noLuks(device);
  const size = luksHeaderBytes(finding.header);
  if (size === 0 || size > MAX_HEADER_BYTES) {
    throw new HostError("header-too-big", `cannot back up the header of "${device}": it has ${size} bytes`, {
      hint: `at most ${MAX_HEADER_BYTES} are kept: format with a smaller area of keyslots`,
    });
  }
  return withKeyFilePath(keyFileDirectories(machine.config.runDir), async (path) => {
    await host.run(["cryptsetup", "luksHeaderBackup", `--header-backup-file=${path}`, "--", device], { signal });
    const bytes = await host.readFile(path);
    if (bytes === undefined) throw noLuks(device);
    return bytes;
  });
}

/** Which keyslots are meant to be there: the master's, those of an earlier backup, and what an operator's command made. */
function judgeSlots(header: LuksHeader, earlier: readonly EscrowedHeader[], reason: HeaderReason): HeaderSlot[] {
  const token = findLuksToken(header);
  const machine = token.kind === "valid" ? token.token.machine : [];
  const known = trustedMarks(header.uuid, earlier);
  return keyslotsOf(header).map(({ slot, kdf, priority, mark }) => {
    const version = machine.find((one) => one.slot === slot)?.version ?? 0;
    const trusted = version > 0 || VOUCHING.has(reason) || known === undefined || known.has(mark);
    return { slot, kdf, priority, mark, version, trusted };
  });
}

/** Marks of the keyslots that were there by right in the newest backup of this header; undefined when there is none. */
export function trustedMarks(uuid: string, headers: readonly EscrowedHeader[]): ReadonlySet<string> | undefined {
  const newest = headers.find(({ luksUuid }) => luksUuid === uuid);
  return newest && new Set(newest.slots.filter(({ trusted }) => trusted).map(({ mark }) => mark));
}

/** What the master has in escrow of this volume, newest first. */
export async function listHeaders(context: VolumeContext): Promise<readonly EscrowedHeader[]> {
  const { link } = context.master();
  return (await link.ask("header.list", { volume: context.volume.name }, context.patience)).headers;
}

/** The bytes of a header in escrow, proven against its digest. Throws ProtocolError `header-broken`. */
export async function fetchHeader(context: VolumeContext, { version, digest }: EscrowedHeader): Promise<Buffer> {
  const { link } = context.master();
  const parts: Uint8Array[] = [];
  let received = 0;
  for (let isDone = false; !isDone;) {
    const request = { volume: context.volume.name, version, offset: received };
    const { found, data, eof } = await link.ask("header.get", request, context.patience);
    received += data.length;
    isDone = eof || !found || data.length === 0 || received > MAX_HEADER_BYTES;
    parts.push(data);
  }
  const bytes = Buffer.concat(parts);
  if (sha256(bytes).toString("hex") === digest) return bytes;
  throw new ProtocolError("header-broken", `cannot use header ${version} of "${context.volume.name}": it is not whole`);
}
