import { z } from "../../core/schema.ts";
import type { FileKind } from "../../core/host.ts";
import { defineFunction, ok } from "./function.ts";

const path = z.string().startsWith("/", "must be an absolute path").describe("Absolute path; links are followed.");

function exists(name: string, summary: string, isKind: (kind: FileKind) => boolean) {
  return defineFunction({
    name,
    summary,
    kind: "quick",
    positional: ["path"],
    params: z.strictObject({ path }),
    run: async (params, { host }) => {
      const found = await host.stat(params.path);
      return ok(found !== undefined && isKind(found.kind));
    },
  });
}

/** `file.*`: what is there. */
export const fileFunctions = [
  exists("file.file_exists", "Whether there is a regular file.", (kind) => kind === "file"),
  exists("file.directory_exists", "Whether there is a directory.", (kind) => kind === "directory"),
];
