import { ConfigError, HostError } from "../../core/errors.ts";
import { missingDevice, requireBlockDevice } from "../../states/devices/block-device.ts";
import { holding } from "../../states/devices/held-device.ts";
import { findLogicalVolume, type NamedVolume, setActive } from "../../states/devices/logical-volume.ts";
import { type LuksHeader, readLuksHeader } from "../../states/devices/luks-header.ts";
import { isReencrypting } from "../../states/devices/luks-reencryption.ts";
import { assertNoMember } from "../../states/devices/membership.ts";
import { waitFor } from "../../states/devices/wait-for.ts";
import { assertKnownLayer } from "../../states/volume/identity.ts";
import { volumePlaces } from "../../states/volume/places.ts";
import type { VolumeContext } from "./runner.ts";

const NODE_TIMEOUT_MS = 30_000;

/** The LUKS device of a volume, with the header as it was found. */
export interface LuksDevice {
  readonly path: string;
  readonly luksUuid: string;
}

/** A sound LUKS2 header. Throws HostError `no-luks` for anything else. */
export async function requireLuks2({ host }: Pick<VolumeContext, "host">, path: string): Promise<LuksHeader> {
  const luks = await readLuksHeader(host, path);
  if (luks.kind === "valid" && luks.header.version === 2) return luks.header;
  const why = luks.kind === "damaged" ? "its LUKS header is damaged" : "it has no LUKS2 header";
  throw new HostError("no-luks", `cannot change the keyslots of "${path}": ${why}`, { facts: { path } });
}

type TakeDown = () => Promise<unknown>;

async function attachLoop({ host, signal, volume }: VolumeContext): Promise<readonly TakeDown[]> {
  const file = volume.loop?.file;
  if (file === undefined || (await volumePlaces(host, volume)).bases.length > 0) return [];
  if ((await host.stat(file)) === undefined) {
    throw missingDevice(`cannot find the file "${file}" behind volume "${volume.name}"`, file);
  }
  const { stdout } = await host.run(["losetup", "--nooverlap", "--find", "--show", "--", file], { signal });
  return [async () => host.run(["losetup", "--detach", stdout.trim()])];
}

async function activate(context: VolumeContext): Promise<readonly TakeDown[]> {
  const { host, signal, volume } = context;
  const { logical } = await volumePlaces(host, volume);
  if (volume.lvm === undefined || logical === undefined || (await host.stat(logical)) !== undefined) return [];
  const [group, name] = [volume.lvm.vg, volume.lvm.lv ?? volume.name];
  const found = await findLogicalVolume(host, group, name);
  if (found === undefined) throw missingDevice(`cannot find the logical volume of volume "${volume.name}"`, logical);
  const named: NamedVolume = { group, name, uuid: found.uuid };
  await setActive(host, named, true, { signal });
  await waitFor(`"${logical}"`, async () => (await host.stat(logical)) !== undefined, {
    timeoutMs: NODE_TIMEOUT_MS,
    signal,
  });
  return [async () => setActive(host, named, false)];
}

const reencrypting = (volume: string): HostError =>
  new HostError("reencrypting", `cannot change the key of volume "${volume}": it is being re-encrypted`, {
    hint: "`latchkey volume status` shows how far it is; `latchkey volume reencrypt` goes on with one that was cut short",
  });

/**
 * Hands `use` the volume's LUKS device, open or not, and a context in which it is held: what goes by its path there goes to no
 * other device. Layers below that are down are brought up for it, and taken down again. Throws ConfigError `not-encrypted`, HostError `device-missing`, `no-luks`, `wrong-device` for a header that is not the
 * one that the volume came up with here, and `reencrypting` unless `use` is fit for that.
 */
export async function withLuksDevice<T>(
  context: VolumeContext,
  use: (device: LuksDevice, held: VolumeContext) => Promise<T>,
  { whileReencrypting = false }: { readonly whileReencrypting?: boolean } = {},
): Promise<T> {
  const { host, volume } = context;
  if (volume.luks === undefined) {
    throw new ConfigError("not-encrypted", `cannot change the key of volume "${volume.name}": it is not encrypted`);
  }
  const down: TakeDown[] = [];
  try {
    down.push(...(await attachLoop(context.at("loop"))));
    down.push(...(await activate(context.at("lv"))));
    const { encrypted } = await volumePlaces(host, volume);
    if (encrypted === undefined || (await host.stat(encrypted)) === undefined) {
      throw missingDevice(`cannot find the LUKS device of volume "${volume.name}"`, encrypted ?? "");
    }
    return await holding(context, encrypted, async (held) => {
      const { uuid, metadata } = await requireLuks2(held, encrypted);
      // names swap: no keyslot of another's disk is ever touched
      await assertKnownLayer(context, volume.name, "LUKS", encrypted, uuid);
      // a header in a plain file is no part of anything
      if ((await host.stat(encrypted))?.kind === "block") {
        await assertNoMember(host, await requireBlockDevice(host, encrypted), "change the keyslots of");
      }
      if (!whileReencrypting && isReencrypting(metadata)) throw reencrypting(volume.name);
      return use({ path: encrypted, luksUuid: uuid }, held);
    });
  } finally {
    for (const takeDown of down.toReversed()) {
      await takeDown().catch((error: unknown) =>
        context.note(`cannot take down what was brought up: ${String(error)}`),
      );
    }
  }
}
