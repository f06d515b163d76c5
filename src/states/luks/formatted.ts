import { randomUUID } from "node:crypto";
import { ConfigError, HostError } from "../../core/errors.ts";
import { isJsonObject } from "../../core/json.ts";
import { isSafeCipher, SAFE_CIPHER_HINT } from "../../core/luks-cipher.ts";
import { z } from "../../core/schema.ts";
import { parseSize } from "../../core/units.ts";
import { assertBlank, findContents, findUse, refusal } from "../devices/blank.ts";
import { type BlockDevice, requireBlockDevice, wrongDevice } from "../devices/block-device.ts";
import { exclusively } from "../devices/exclusive.ts";
import { holding } from "../devices/held-device.ts";
import { freshMapping } from "../devices/fresh-mapping.ts";
import { assertSafeHeader } from "../devices/luks-layout.ts";
import { type LuksHeader, readLuksHeader } from "../devices/luks-header.ts";
import { findLuksToken, readLuksToken, writeLuksToken } from "../devices/luks-token.ts";
import { seenDevices, seenOn } from "../devices/seen-devices.ts";
import { absolutePath, lowerUuid, secretRef } from "../devices/storage-params.ts";
import { type ApplyContext, type Change, type CheckContext, defineState, type LeasedKey } from "../state.ts";
import { assertKnownLayer, assertNeverMade } from "../volume/identity.ts";

/** A random 256-bit key needs no slow key derivation. */
const MACHINE_KDF = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"] as const;
const HUMAN_KDF = ["--pbkdf", "argon2id"] as const;
/** cryptsetup(8): no usable keyslot (1), no key available with this passphrase (2). */
const DOES_NOT_OPEN = [1, 2] as const;
/** LUKS2: whole sectors of 4 KiB, 128 MiB at most; less than 256 KiB holds no slot. */
const KEYSLOTS_SIZE = { unit: 4096, min: 256 * 1024, max: 128 * 1024 * 1024 } as const;

const params = z.strictObject({
  name: absolutePath.describe("The device to format, such as /dev/vg0/data"),
  key: secretRef.describe("The key, as a reference that the pillar gives: secret:<pillar path>"),
  label: z
    .string()
    .regex(/^[\x20-\x7e]{1,47}$/u)
    .optional()
    .describe("Label of the header, up to 47 characters"),
  uuid: lowerUuid.optional().describe("UUID of the header; a random one when not given"),
  cipher: z
    .string()
    .refine(isSafeCipher, `no cipher that is known to encrypt: ${SAFE_CIPHER_HINT}`)
    .optional()
    .describe("Cipher as cryptsetup names it; its own default (aes-xts-plain64) when not given"),
  keyslots_size: z
    .union([z.number().int().positive(), z.string().min(1)])
    .default("1M")
    .describe("Room for keyslots in the header: 1M holds four; multiples of 4K, up to 128M"),
  volume: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_.-]{0,62}$/u)
    .optional()
    .describe("Name of the volume that the device is of, noted in the header"),
});
type Params = z.infer<typeof params>;
/** With the UUID that a header which is made now gets. */
type Formatting = Params & { readonly madeUuid: string };

/**
 * `formatted`: nothing to do but perhaps a label. `noted`: as well, but for the note on this machine's disk, which outlived
 * the commit in the header. `unfinished`: our own format was cut short, by the journal of this machine. `unproven`: by the
 * header's own token; nobody here knows what happened since.
 */
type Finding =
  | { readonly kind: "blank" }
  | { readonly kind: "unfinished"; readonly header: LuksHeader | undefined }
  | { readonly kind: "unproven"; readonly header: LuksHeader }
  | { readonly kind: "noted"; readonly header: LuksHeader }
  | { readonly kind: "formatted"; readonly header: LuksHeader };

const journalKey = (device: BlockDevice): string => `luks-format:${device.identity}`;

async function pendingUuid(context: CheckContext, device: BlockDevice): Promise<string | undefined> {
  const note = await context.pending(journalKey(device));
  return isJsonObject(note) && typeof note["uuid"] === "string" ? note["uuid"] : undefined;
}

/** Throws HostError `wrong-device` for anything that is neither blank nor LUKS2 (I2). */
async function look(context: CheckContext, device: BlockDevice): Promise<Finding> {
  const { host } = context;
  const luks = await readLuksHeader(host, device.path);
  if (luks.kind === "none") {
    await assertBlank(context, device, "format");
    return { kind: "blank" };
  }
  const begun = await pendingUuid(context, device);
  if (luks.kind === "damaged") {
    if (begun !== undefined) return { kind: "unfinished", header: undefined };
    throw refusal(device, "has a damaged LUKS header", "format");
  }
  const { header } = luks;
  const ours = findLuksToken(header);
  if (header.uuid === begun) {
    const isCommitted = ours.kind === "valid" && ours.token.state === "committed";
    return { kind: isCommitted ? "noted" : "unfinished", header };
  }
  if (header.version === 1) throw refusal(device, `has a LUKS1 header (uuid ${header.uuid})`, "format");
  if (!header.atStart) {
    const finding = await findContents(host, device);
    if (finding?.includes("LUKS") !== true) throw refusal(device, finding ?? "has half a LUKS header", "format");
  }
  assertSafeHeader(header, device.path);
  if (ours.kind === "valid" && ours.token.state === "formatting") return { kind: "unproven", header };
  return { kind: "formatted", header };
}

/**
 * Whether a header is just as our own luksFormat leaves it before anything can have been stored behind it: the first slot
 * alone (or none, when it was cut short), and no token but one that says that the format was not finished.
 */
function isUntouched({ metadata }: LuksHeader): boolean {
  const keysOf = (section: unknown): readonly string[] => (isJsonObject(section) ? Object.keys(section) : []);
  const tokens = isJsonObject(metadata["tokens"]) ? Object.values(metadata["tokens"]) : [];
  const begun = tokens.every((token) => isJsonObject(token) && token["state"] === "formatting");
  return keysOf(metadata["keyslots"]).every((slot) => slot === "0") && tokens.length <= 1 && begun;
}

function compare(wanted: Params, header: LuksHeader): readonly Change[] {
  if (wanted.uuid !== undefined && wanted.uuid !== header.uuid) {
    const finding = `is LUKS with uuid ${header.uuid}`;
    throw wrongDevice(`cannot use "${wanted.name}": it ${finding}, not ${wanted.uuid}`, wanted.name, finding);
  }
  const differs = wanted.label !== undefined && wanted.label !== header.label;
  return differs ? [{ field: "label", from: header.label, to: wanted.label ?? "" }] : [];
}

/** As `look`, and refuses a device that is not the one that the volume had (I2, I3). */
async function lookAs(wanted: Params, context: CheckContext, device: BlockDevice): Promise<Finding> {
  const finding = await look(context, device);
  const uuid = finding.kind === "blank" ? undefined : finding.header?.uuid;
  await assertKnownLayer(context, wanted.volume, "LUKS", device.path, uuid);
  return finding;
}

async function check(wanted: Params, context: CheckContext): Promise<readonly Change[]> {
  const device = await requireBlockDevice(context.host, wanted.name);
  const finding = await lookAs(wanted, context, device);
  return seenOn(differences(wanted, finding), device);
}

function differences(wanted: Params, finding: Finding): readonly Change[] {
  if (finding.kind === "formatted") return compare(wanted, finding.header);
  if (finding.kind === "noted") {
    return [{ field: "format", from: "noted", to: "committed" }, ...compare(wanted, finding.header)];
  }
  return [{ field: "luks", from: finding.kind === "blank" ? null : "unfinished", to: "luks2" }];
}

/** Whether the key opens a slot: the first one, or any. */
async function opens(
  context: ApplyContext,
  { path }: BlockDevice,
  { secret }: LeasedKey,
  slot: 0 | "any",
): Promise<boolean> {
  const argv = ["cryptsetup", "open", "--test-passphrase", "--type", "luks2"] as const;
  const which = slot === "any" ? [] : ["--key-slot", String(slot)];
  const key = ["--key-file=-", "--keyfile-size", String(secret.length)];
  const { exitCode } = await context.host.run([...argv, ...which, ...key, "--", path], {
    stdin: secret,
    okCodes: [0, ...DOES_NOT_OPEN],
    signal: context.signal,
  });
  return exitCode === 0;
}

/** Bytes for keyslots. Throws ConfigError `bad-keyslots-size`. */
function keyslotsBytes({ keyslots_size: size }: Params): number {
  const bytes = parseSize(size);
  const { unit, min, max } = KEYSLOTS_SIZE;
  if (bytes % unit === 0 && bytes >= min && bytes <= max) return bytes;
  throw new ConfigError("bad-keyslots-size", `cannot make a keyslot area of "${size}"`, {
    hint: "a multiple of 4K between 256K and 128M; one slot takes about 256K",
  });
}

async function format(wanted: Formatting, context: ApplyContext, device: BlockDevice, key: LeasedKey): Promise<void> {
  const { madeUuid: uuid } = wanted;
  const keyslots = keyslotsBytes(wanted);
  await context.begin(freshMapping(uuid), true);
  await context.begin(journalKey(device), { uuid });
  context.reached("provision:luks-noted");
  const options = [
    "--type=luks2",
    "--batch-mode",
    `--uuid=${uuid}`,
    "--key-slot=0",
    `--luks2-keyslots-size=${keyslots}`,
    ...(key.generated ? MACHINE_KDF : HUMAN_KDF),
    ...(wanted.label === undefined ? [] : [`--label=${wanted.label}`]),
    ...(wanted.cipher === undefined ? [] : [`--cipher=${wanted.cipher}`]),
    "--key-file=-",
    `--keyfile-size=${key.secret.length}`,
  ];
  await context.host.run(["cryptsetup", "luksFormat", ...options, "--", device.path], {
    stdin: key.secret,
    signal: context.signal,
  });
  context.reached("provision:luks-formatted");
  await mark(wanted, context, device, key, "formatting");
  context.reached("provision:luks-token");
}

/** Says in the header itself how far the format is: this machine's journal may be gone with its disk. */
async function mark(
  { volume = "" }: Params,
  context: ApplyContext,
  { path }: BlockDevice,
  { version }: LeasedKey,
  state: "formatting" | "committed",
): Promise<void> {
  const made = (await readLuksToken(context, path))?.made ?? Date.now();
  await writeLuksToken(context, path, { state, machine: [{ slot: 0, version }], volume, made });
}

/** Makes the slot the preferred one, proves that the key opens it, and only then says that the format is done. */
async function finish(wanted: Params, context: ApplyContext, device: BlockDevice, key: LeasedKey): Promise<void> {
  const { host, signal } = context;
  await host.run(["cryptsetup", "config", "--priority", "prefer", "--key-slot", "0", "--", device.path], { signal });
  if (!(await opens(context, device, key, 0))) {
    throw new HostError("format-not-proven", `cannot format "${device.path}": the new key slot does not open`);
  }
  await mark(wanted, context, device, key, "committed");
  await context.commit(journalKey(device));
  context.reached("provision:luks-committed");
}

/** Takes the note away that outlived the commit in the header: that was written when the key was proven. */
async function settle(context: ApplyContext, device: BlockDevice): Promise<void> {
  await context.commit(journalKey(device));
  context.note("an earlier format was complete");
  context.reached("provision:luks-committed");
}

/** The refusal of a device whose format is not known to be finished, and which the key does not open (I2). */
function notOurs({ path }: BlockDevice, { uuid }: LuksHeader, { key }: Params): HostError {
  const what = `it is LUKS (uuid ${uuid}) whose format was not finished, and the key ${key} does not open it`;
  return new HostError("half-formatted", `cannot format "${path}": ${what}; nothing was changed`, {
    hint: `give ${key} the value that it was formatted with; if nothing was ever stored on it: wipefs --all ${path}`,
    facts: { path, luksUuid: uuid },
  });
}

async function formatWith(
  wanted: Formatting,
  context: ApplyContext,
  device: BlockDevice,
  key: LeasedKey,
): Promise<void> {
  if (key.secret.length === 0) throw new ConfigError("empty-key", `cannot format with ${wanted.key}: it is empty`);
  // looked at again: the lease may have taken long
  const finding = await lookAs(wanted, context, device);
  if (finding.kind === "formatted") return;
  if (finding.kind === "noted") {
    await settle(context, device);
    return;
  }
  if (finding.kind === "blank") await format(wanted, context, device, key);
  else if (await resume(wanted, context, device, key, finding)) return;
  await finish(wanted, context, device, key);
}

/**
 * What was cut short is kept when the key opens it, and done again only when nothing can be behind it; else this throws.
 * True when nothing is left to finish: the header was committed, and only this machine's note was not taken away.
 */
async function resume(
  wanted: Formatting,
  context: ApplyContext,
  device: BlockDevice,
  key: LeasedKey,
  { kind, header }: Extract<Finding, { readonly kind: "unfinished" | "unproven" }>,
): Promise<boolean> {
  if (header !== undefined && (await opens(context, device, key, "any"))) {
    context.note("an earlier format was complete");
    if (isUntouched(header)) return false;
    await context.commit(journalKey(device));
    context.reached("provision:luks-committed");
    return true;
  }
  const use = await findUse(context.host, device);
  if (use !== undefined) throw refusal(device, use, "format");
  if (header !== undefined && (kind === "unproven" || !isUntouched(header))) throw notOurs(device, header, wanted);
  context.note("an earlier format was cut short: done again");
  await format(wanted, context, device, key);
  return false;
}

/** On a device that is held: from the look to the last act, the lease in between, it is one and the same. */
async function apply(wanted: Params, context: ApplyContext, changes: readonly Change[]): Promise<void> {
  const device = await requireBlockDevice(context.host, wanted.name);
  if (changes.some(({ field }) => field === "luks")) {
    const isBlank = (await readLuksHeader(context.host, device.path)).kind === "none";
    if (isBlank && wanted.volume !== undefined) await assertNeverMade(context, wanted.volume);
    await exclusively(device.identity, async () => {
      // the master is told which header this key will be of: no other is taken for it
      const found = await lookAs(wanted, context, device);
      const before = found.kind === "blank" ? undefined : found.header?.uuid;
      const madeUuid = before ?? wanted.uuid ?? randomUUID({ disableEntropyCache: true });
      const subject = { device: device.path, luksUuid: madeUuid };
      await context.lease(wanted.key, "format", subject, (key) =>
        formatWith({ ...wanted, madeUuid }, context, device, key),
      );
    });
    return;
  }
  if (changes.some(({ field }) => field === "format")) await settle(context, device);
  if (!changes.some(({ field }) => field === "label")) return;
  const label = `--label=${wanted.label ?? ""}`;
  await context.host.run(["cryptsetup", "config", label, "--", device.path], { signal: context.signal });
}

/** `luks.formatted`: a device that is LUKS already stays as it is, whatever its key (I2). */
export const luksFormatted = defineState({
  kind: "resource",
  name: "luks.formatted",
  summary: "Formats a blank device as LUKS2 with a leased key; never formats anything else.",
  params,
  check,
  apply: (wanted, context, changes) =>
    holding(context, wanted.name, (held) => apply(wanted, held, changes), seenDevices(changes).get(wanted.name)),
  settled: ({ name }) => `${name} is formatted as LUKS2`,
});
