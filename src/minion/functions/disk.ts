import type { Json } from "../../core/json.ts";
import { z } from "../../core/schema.ts";
import { defineFunction, ok } from "./function.ts";

/** A line of /proc/self/mounts (proc(5)), octal escapes resolved. */
export interface MountLine {
  readonly source: string;
  readonly target: string;
  readonly type: string;
}

const unescape = (text: string): string =>
  text.replaceAll(/\\([0-7]{3})/gu, (_, octal: string) => String.fromCodePoint(Number.parseInt(octal, 8)));

/** What is mounted, in the order of mounting. */
export function parseMounts(text: string): readonly MountLine[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [source = "", target = "", type = ""] = line.split(" ").map(unescape);
      return { source, target, type };
    });
}

/** `disk.*`: space. */
export const diskFunctions = [
  defineFunction({
    name: "disk.usage",
    summary: "Space of the mounted file systems by mount point, in KiB as df(1) shows it.",
    kind: "quick",
    positional: [],
    params: z.strictObject({}),
    run: async (_params, { host }) => {
      const mounts = parseMounts((await host.readFile("/proc/self/mounts"))?.toString("utf8") ?? "");
      const usage: Record<string, Json> = {};
      for (const { source, target } of mounts) {
        const space = await host.space(target).catch(() => undefined);
        if (space === undefined || space.total === 0) continue;
        const used = space.total - space.free;
        const percent = Math.ceil((used / Math.max(1, used + space.available)) * 100);
        usage[target] = {
          filesystem: source,
          "1K-blocks": String(Math.round(space.total / 1024)),
          used: String(Math.round(used / 1024)),
          available: String(Math.round(space.available / 1024)),
          capacity: `${percent}%`,
        };
      }
      return ok(usage);
    },
  }),
];
