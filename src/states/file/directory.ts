import { dirname } from "node:path";
import { HostError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import { accountParam, applyOwnership, compareOwnership, modeParam, readOwnership } from "../devices/ownership.ts";
import { absolutePath } from "../devices/storage-params.ts";
import { defineState } from "../state.ts";

const DEFAULT_MODE = 0o755;

const params = z.strictObject({
  name: absolutePath.describe("The directory"),
  user: accountParam.optional().describe("Its owner, by name or number"),
  group: accountParam.optional().describe("Its group, by name or number"),
  mode: modeParam.optional().describe("Permission bits, such as 0755"),
  dir_mode: modeParam.optional().describe("Another name for mode"),
  makedirs: z.boolean().default(false).describe("Make missing parent directories too"),
});

/** `file.directory` */
export const fileDirectory = defineState({
  kind: "resource",
  name: "file.directory",
  summary: "Makes a directory with the given owner and mode.",
  params,
  check: async (wanted, { host }) => {
    const ownership = await readOwnership(host, { ...wanted, mode: wanted.mode ?? wanted.dir_mode });
    const stat = await host.stat(wanted.name);
    if (stat !== undefined) {
      if (stat.kind === "directory") return compareOwnership(stat, ownership);
      throw new HostError("not-a-directory", `cannot make directory "${wanted.name}": there is a ${stat.kind}`);
    }
    if (!wanted.makedirs && (await host.stat(dirname(wanted.name)))?.kind !== "directory") {
      throw new HostError("no-parent", `cannot make directory "${wanted.name}": its parent directory does not exist`, {
        hint: "set makedirs: true",
      });
    }
    return [{ field: "directory", from: null, to: "new" }];
  },
  apply: async (wanted, { host }) => {
    const ownership = await readOwnership(host, { ...wanted, mode: wanted.mode ?? wanted.dir_mode });
    if ((await host.stat(wanted.name)) === undefined) {
      await host.makeDirectory(wanted.name, ownership.mode ?? DEFAULT_MODE);
    }
    await applyOwnership(host, wanted.name, ownership);
  },
  settled: ({ name }) => `the directory ${name} is in the correct state`,
});
