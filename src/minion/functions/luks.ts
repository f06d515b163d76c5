import type { Host } from "../../core/host.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { z } from "../../core/schema.ts";
import { parseMounts } from "./disk.ts";
import { defineFunction, ok } from "./function.ts";

const SYS_BLOCK = "/sys/class/block";
/** As cryptsetup names its mappings: `CRYPT-LUKS2-<uuid without dashes>-<name>`. */
const DM_UUID = /^CRYPT-(LUKS[12])-([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})-/u;

async function text(host: Host, path: string): Promise<string> {
  return (await host.readFile(path))?.toString("utf8").trim() ?? "";
}

async function readMapping(host: Host, block: string): Promise<readonly [string, JsonObject] | undefined> {
  const match = DM_UUID.exec(await text(host, `${SYS_BLOCK}/${block}/dm/uuid`));
  if (!match) return undefined;
  const [, type = "", ...parts] = match;
  const name = await text(host, `${SYS_BLOCK}/${block}/dm/name`);
  const below = (await host.readDirectory(`${SYS_BLOCK}/${block}/slaves`)) ?? [];
  const device = below[0] ?? "";
  const lower = device === "" ? "" : await text(host, `${SYS_BLOCK}/${device}/dm/name`);
  const mapper = `/dev/mapper/${name}`;
  const mounts = parseMounts(await text(host, "/proc/self/mounts"));
  const state: JsonObject = {
    active: true,
    type,
    uuid: parts.join("-"),
    device: lower === "" ? `/dev/${device}` : `/dev/mapper/${lower}`,
    mapper,
    size: Number(await text(host, `${SYS_BLOCK}/${block}/size`)) * 512,
    mounts: mounts.filter(({ source }) => source === mapper || source === `/dev/${block}`).map(({ target }) => target),
  };
  return [name, state];
}

/** `luks.*`: encrypted volumes, from /sys alone; no key is touched. */
export const luksFunctions = [
  defineFunction({
    name: "luks.status",
    summary: "Open LUKS mappings: device below, UUID, where they are mounted.",
    kind: "quick",
    positional: ["name"],
    params: z.strictObject({ name: z.string().optional().describe("One mapping; all open ones when not given.") }),
    run: async ({ name }, { host }) => {
      const blocks = ((await host.readDirectory(SYS_BLOCK)) ?? []).filter((block) => block.startsWith("dm-"));
      const found = (await Promise.all(blocks.map((block) => readMapping(host, block)))).filter((entry) => !!entry);
      const all: Readonly<Record<string, Json>> = Object.fromEntries(found);
      if (name === undefined) return ok(all);
      return ok(all[name.replace(/^\/dev\/mapper\//u, "")] ?? { active: false });
    },
  }),
];
