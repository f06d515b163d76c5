import { ConfigError, HostError } from "../../core/errors.ts";
import { missingDevice } from "../../states/devices/block-device.ts";
import { type LuksHeader, readLuksHeader } from "../../states/devices/luks-header.ts";
import { isReencrypting } from "../../states/devices/luks-reencryption.ts";
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

async function attachLoop({ host, signal, volume }: VolumeContext): Promise<readonly [string, ...string[]][]> {
  const file = volume.loop?.file;
  if (file === undefined || (await volumePlaces(host, volume)).bases.length > 0) return [];
  if ((await host.stat(file)) === undefined) {
    throw missingDevice(`cannot find the file "${file}" behind volume "${volume.name}"`, file);
  }
  const { stdout } = await host.run(["losetup", "--nooverlap", "--find", "--show", "--", file], { signal });
  return [["losetup", "--detach", stdout.trim()]];
}

async function activate(context: VolumeContext): Promise<readonly [string, ...string[]][]> {
  const { host, signal, volume } = context;
  const { logical } = await volumePlaces(host, volume);
  if (volume.lvm === undefined || logical === undefined || (await host.stat(logical)) !== undefined) return [];
  const name = `${volume.lvm.vg}/${volume.lvm.lv ?? volume.name}`;
  await host.run(["lvchange", "--activate", "y", "--", name], { signal });
  await waitFor(`"${logical}"`, async () => (await host.stat(logical)) !== undefined, {
    timeoutMs: NODE_TIMEOUT_MS,
    signal,
  });
  return [["lvchange", "--activate", "n", "--", name]];
}

/**
 * Hands `use` the volume's LUKS device, open or not; layers below that are down are brought up for it, and taken down
 * again. Throws ConfigError `not-encrypted`, HostError `device-missing`, `no-luks`, `wrong-device` for a header that is not the
 * one that the volume came up with here, and `reencrypting` unless `use` is fit for that.
 */
export async function withLuksDevice<T>(
  context: VolumeContext,
  use: (device: LuksDevice) => Promise<T>,
  { whileReencrypting = false }: { readonly whileReencrypting?: boolean } = {},
): Promise<T> {
  const { host, volume } = context;
  if (volume.luks === undefined) {
    throw new ConfigError("not-encrypted", `cannot change the key of volume "${volume.name}": it is not encrypted`);
  }
  const down: (readonly [string, ...string[]])[] = [];
  try {
    down.push(...(await attachLoop(context.at("loop"))));
    down.push(...(await activate(context.at("lv"))));
    const { encrypted } = await volumePlaces(host, volume);
    if (encrypted === undefined || (await host.stat(encrypted)) === undefined) {
      throw missingDevice(`cannot find the LUKS device of volume "${volume.name}"`, encrypted ?? "");
    }
    const { uuid, metadata } = await requireLuks2(context, encrypted);
    // names swap: no keyslot of another's disk is ever touched
    await assertKnownLayer(context, volume.name, "LUKS", encrypted, uuid);
    if (!whileReencrypting && isReencrypting(metadata)) {
      throw new HostError(
        "reencrypting",
        `cannot change the key of volume "${volume.name}": it is being re-encrypted`,
        {
          hint: "`latchkey volume status` shows how far it is; `latchkey volume reencrypt` goes on with one that was cut short",
        },
      );
    }
    return await use({ path: encrypted, luksUuid: uuid });
  } finally {
    for (const argv of down.toReversed()) {
      await host
        .run(argv)
        .catch((error: unknown) => context.note(`cannot take down what was brought up: ${String(error)}`));
    }
  }
}
