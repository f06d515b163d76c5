import { z } from "./schema.ts";
import { volumeReportSchema } from "./volume-report.ts";

/** `warn`: there, and not as it should be; `details` say what. */
export const LAYER_STATES = ["up", "down", "not-provisioned", "warn"] as const;
export type LayerState = (typeof LAYER_STATES)[number];

const text = z.string().max(4096);
const paths = z.array(text).max(200);

/** One layer of a volume as it is now. */
export const layerStatusSchema = z.strictObject({
  /** `loop`, `disk`, `pv`, `vg`, `lv`, `luks`, `fs`, `mount`, `dependents`. */
  layer: text,
  /** What people call it: a path, `<vg>/<lv>`, a mapping, a mount point, a unit. */
  name: text,
  /** The block device that is meant; "" for none. */
  device: text,
  /** Bytes; 0 when not known. */
  bytes: z.number().nonnegative(),
  state: z.enum(LAYER_STATES),
  /** Devices right below, those at the very bottom, and what this layer shows to the one above (OpenSVC's words). */
  sub: paths,
  base: paths,
  exposed: paths,
  details: z.record(z.string(), z.json()),
});
export type LayerStatus = z.infer<typeof layerStatusSchema>;

/** What `volume.status` returns of one volume: its layers from the bottom up, and what the master is told of it. */
export const volumeStatusSchema = z.object({
  layers: z.array(layerStatusSchema).max(500),
  report: volumeReportSchema,
});
export type VolumeStatus = z.infer<typeof volumeStatusSchema>;
