import { parseSize } from "../../core/units.ts";
import { readBlockDevice } from "../devices/block-device.ts";
import { holding } from "../devices/held-device.ts";
import { findLoop } from "../devices/loop-device.ts";
import { type Growth, type GrowthContext, type GrowthLayer, cannotShrink } from "./grow-context.ts";

const SECTOR = 512;

/** The file behind the loop device; neither tool ever shortens a file. */
export const LOOP_FILE: GrowthLayer = {
  layer: "loop",
  step: "grow:loop-file",
  find: async ({ host, volume: { loop } }) => {
    const file = loop?.size === undefined ? undefined : await host.stat(loop.file);
    if (loop?.size === undefined || file?.kind !== "file") return [];
    const wanted = parseSize(loop.size);
    if (file.size > wanted) throw cannotShrink(`loop file "${loop.file}"`, file.size, wanted);
    if (file.size === wanted) return [];
    const path = loop.file;
    const argv = loop.sparse
      ? (["truncate", `--size=>${wanted}`, "--", path] as const)
      : (["fallocate", "--length", String(wanted), "--", path] as const);
    const grow: Growth["grow"] = async (context) => {
      await context.host.run([...argv], { signal: context.signal });
    };
    return [{ what: `loop file ${path}`, from: file.size, to: wanted, grow }];
  },
};

/** The loop device, as large as its file. */
export const LOOP_DEVICE: GrowthLayer = {
  layer: "loop",
  step: "grow:loop",
  find: async ({ host, volume: { loop } }) => {
    const path = loop && (await findLoop(host, loop.file));
    const file = loop && (await host.stat(loop.file));
    const device = path === undefined ? undefined : await readBlockDevice(host, path);
    if (path === undefined || file === undefined || device === undefined) return [];
    const to = Math.floor(file.size / SECTOR) * SECTOR;
    if (device.bytes >= to) return [];
    const grow: Growth["grow"] = async (context) => {
      const resize = ({ host: held, signal }: GrowthContext) =>
        held.run(["losetup", "--set-capacity", path], { signal });
      await holding(context, path, resize, device.identified);
    };
    return [{ what: `loop device ${path}`, from: device.bytes, to, grow }];
  },
};
