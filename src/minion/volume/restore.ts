import { ConfigError, HostError } from "../../core/errors.ts";
import { Secret } from "../../core/secret.ts";
import type { EscrowedHeader } from "../../core/volume-header.ts";
import { findMapping, requireBlockDevice } from "../../states/devices/block-device.ts";
import { holding } from "../../states/devices/held-device.ts";
import { readLuksHeader } from "../../states/devices/luks-header.ts";
import { volumeKeyMark } from "../../states/devices/luks-slots.ts";
import { assertNoMember } from "../../states/devices/membership.ts";
import { findSignatures, SIGNATURE_SPAN } from "../../states/devices/signatures.ts";
import { readSuperblock } from "../../states/devices/superblock.ts";
import { volumePlaces } from "../../states/volume/places.ts";
import { keyFileDirectories, withKeyFile } from "../key-file.ts";
import { escrowHeader, fetchHeader, listHeaders } from "./header.ts";
import { readDiskFingerprint } from "./inspect.ts";
import { readLuksFacts } from "./inspect-luks.ts";
import { findHeaderDifference } from "./known-header.ts";
import { dropRawHeader, keepRawHeader } from "./raw-header.ts";
import { planRestore, type Present, type RestorePlan } from "./restore-plan.ts";
import type { VolumeContext } from "./runner.ts";
import { type KeyTest, testStoredKey } from "./stored-key.ts";

/** What is to be restored. */
export interface RestoreOptions {
  /** A version in escrow; when left out the newest that a stored key opens, else the newest. */
  readonly version?: number | undefined;
  readonly isDryRun: boolean;
}

/** What was (or would be) done. */
export interface Restored extends RestorePlan {
  readonly header: EscrowedHeader;
  readonly device: string;
  /** Version of the header that was there before, now in escrow too; 0 for one that did not read. */
  readonly before: number;
  /** The proof afterwards; undefined in a dry run, or when nothing had to be done. */
  readonly key: KeyTest | undefined;
}

/** As cryptsetup names its mappings: `CRYPT-LUKS2-<uuid without dashes>-<name>`. */
function uuidOfMapping(dmUuid: string): string {
  const hex = /^CRYPT-LUKS[12]-([0-9a-f]{32})-/u.exec(dmUuid)?.[1] ?? "";
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/u, "$1-$2-$3-$4-$5");
}

async function kindOfForeign({ host }: VolumeContext, path: string): Promise<Pick<Present, "kind" | "finding">> {
  const superblock = await readSuperblock(host, path);
  const [signature] = findSignatures((await host.readRange(path, 0, SIGNATURE_SPAN)) ?? Buffer.alloc(0));
  const kind = superblock?.fsType ?? signature?.kind;
  if (kind === undefined) return { kind: "nothing", finding: "" };
  return kind === "crypto_LUKS"
    ? { kind: "damaged", finding: "" }
    : { kind: "foreign", finding: `has a signature: ${kind}` };
}

async function lookAt(context: VolumeContext, path: string): Promise<Present> {
  const { host, volume } = context;
  const device = await requireBlockDevice(host, path);
  await assertNoMember(host, device, "restore a header to");
  const luks = await readLuksHeader(host, path);
  const facts = await readLuksFacts(host, path);
  const isSound = facts?.header.version === 2 && facts.header.atStart;
  const mapping = await findMapping(host, volume.luks?.name ?? volume.name);
  const held = mapping !== undefined && device.holders.includes(mapping.kernelName) ? mapping : undefined;
  const other = device.holders.find((holder) => holder !== held?.kernelName);
  const what =
    facts?.header.version === 1
      ? ({ kind: "foreign", finding: "has a LUKS1 header" } as const)
      : isSound
        ? ({ kind: "sound", finding: "" } as const)
        : luks.kind === "none"
          ? await kindOfForeign(context, path)
          : ({ kind: "damaged", finding: "" } as const);
  if (other !== undefined) {
    throw new HostError("device-busy", `cannot restore a header to "${path}": it is in use by ${other}`);
  }
  return {
    ...what,
    luksUuid: facts?.header.uuid ?? "",
    volumeKey: facts === undefined ? "" : volumeKeyMark(facts.header),
    digest: facts?.digest ?? "",
    slots: facts?.slots ?? [],
    deviceBytes: device.bytes,
    disk: await readDiskFingerprint(context),
    openUuid: held && uuidOfMapping(held.uuid),
  };
}

function choose(volume: string, headers: readonly EscrowedHeader[], version: number | undefined): EscrowedHeader {
  const newest = headers.find(({ proven }) => proven.version > 0) ?? headers[0];
  const found = version === undefined ? newest : headers.find((header) => header.version === version);
  if (found) return found;
  const which = version === undefined ? "no header" : `no version ${version} of the header`;
  throw new ConfigError("no-header", `cannot restore the header of "${volume}": there is ${which} in escrow`, {
    hint: "see what there is with `latchkey volume header list`",
  });
}

/**
 * Puts a header out of escrow back on its device, and proves that the stored key opens it. Whatever speaks against it (another
 * device, another volume key, a mapping that could break) is an error before anything is written; what is there now goes
 * into escrow first, or, when it does not read, into a file of the minion's own until a key opens the restored one. A restored header that no stored key
 * opens is taken back. Throws HostError `restore-refused`, `restore-not-proven`, ConfigError `no-header`.
 */
export async function restoreHeader(given: VolumeContext, options: RestoreOptions): Promise<Restored> {
  const context = given.at("luks");
  const { host, volume } = context;
  const { encrypted = "" } = await volumePlaces(host, volume);
  if (volume.luks === undefined) throw new ConfigError("not-encrypted", `volume "${volume.name}" has no LUKS header`);
  const headers = await listHeaders(context);
  const header = choose(volume.name, headers, options.version);
  // one and the same device from the look until the key is proven
  return holding(context, encrypted, (held) => restoreOn(held, encrypted, { header, headers }, options));
}

async function restoreOn(
  context: VolumeContext,
  encrypted: string,
  { header, headers }: { readonly header: EscrowedHeader; readonly headers: readonly EscrowedHeader[] },
  options: RestoreOptions,
): Promise<Restored> {
  const { host, volume } = context;
  const present = await lookAt(context, encrypted);
  const plan = planRestore(header, present, headers);
  const result = { ...plan, header, device: encrypted, before: 0, key: undefined };
  if (options.isDryRun || (plan.isDone && plan.refusals.length === 0)) return result;
  const [refusal] = plan.refusals;
  if (refusal !== undefined) {
    const message = `cannot restore header ${header.version} of "${volume.name}" to "${encrypted}": ${refusal}`;
    throw new HostError("restore-refused", message, { hint: "nothing was changed", facts: { device: encrypted } });
  }
  const bytes = await fetchHeader(context, header);
  const before = await keepBefore(context, encrypted, present);
  const raw = before === undefined ? await keepRawHeader(context, encrypted, header.bytes) : undefined;
  await write(context, encrypted, bytes);
  const facts = await readLuksFacts(host, encrypted);
  if (facts?.digest !== header.digest) {
    throw new HostError("restore-not-proven", `cannot restore the header of "${volume.name}": it does not read back`);
  }
  const key = await testStoredKey(context, encrypted, facts, await listHeaders(context));
  if (key.kind === "does-not-open" && before !== undefined) {
    const earlier = (await listHeaders(context)).find(({ version }) => version === before.version);
    if (earlier) await write(context, encrypted, await fetchHeader(context, earlier));
    throw new HostError("restore-not-proven", `no stored key opens header ${header.version} of "${volume.name}"`, {
      hint: "the header that was there before is back in its place",
    });
  }
  if (key.kind === "opens" || key.kind === "older") await dropRawHeader(context);
  else if (raw !== undefined)
    context.note(`what was left of the header before is in ${raw} until a key opens this one`);
  context.note(`header ${header.version} was restored to ${encrypted}`);
  return { ...result, before: before?.version ?? 0, key };
}

/** What is there goes into escrow; what is not the volume's header does not, and is kept here like one that does not read. */
async function keepBefore(context: VolumeContext, device: string, { kind }: Present) {
  const finding = kind === "sound" ? await readLuksHeader(context.host, device) : undefined;
  if (finding?.kind !== "valid") return undefined;
  const difference = await findHeaderDifference(context, finding.header);
  if (difference === undefined) return escrowHeader(context, "restore");
  context.note(`the header that is there is not the volume's: ${difference}`);
  return undefined;
}

async function write({ host, machine, signal }: VolumeContext, device: string, bytes: Buffer): Promise<void> {
  using content = Secret.take(bytes);
  await withKeyFile(keyFileDirectories(machine.config.runDir), content, async (path) => {
    const argv = [
      "cryptsetup",
      "luksHeaderRestore",
      "--batch-mode",
      `--header-backup-file=${path}`,
      "--",
      device,
    ] as const;
    await host.run(argv, { signal });
  });
}
