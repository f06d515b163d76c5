import { HostError } from "../../core/errors.ts";
import type { HeldPath } from "../../core/host.ts";
import { z } from "../../core/schema.ts";
import { unsafePathParam } from "../devices/held.ts";
import {
  accountParam,
  applyOwnership,
  compareOwnership,
  modeParam,
  ownershipOfNew,
  readOwnership,
} from "../devices/ownership.ts";
import { absolutePath } from "../devices/storage-params.ts";
import { type CheckContext, defineState } from "../state.ts";

const DEFAULT_MODE = 0o755;

const params = z.strictObject({
  name: absolutePath.describe("The directory"),
  user: accountParam.optional().describe("Its owner, by name or number"),
  group: accountParam.optional().describe("Its group, by name or number"),
  mode: modeParam.optional().describe("Permission bits, such as 0755"),
  dir_mode: modeParam.optional().describe("Another name for mode"),
  makedirs: z.boolean().default(false).describe("Make missing parent directories too"),
  allow_unsafe_path: unsafePathParam,
});
type Params = z.infer<typeof params>;

const hold = ({ name, allow_unsafe_path: allowUnsafePath }: Params, { host }: CheckContext, parentsMode?: number) =>
  host.holdPath(name, { followLast: true, allowUnsafePath, ...(parentsMode === undefined ? {} : { parentsMode }) });

function assertDirectory({ name }: Params, { found }: HeldPath): void {
  if (found === undefined || found.kind === "directory") return;
  throw new HostError("not-a-directory", `cannot make directory "${name}": there is a ${found.kind}`);
}

/** `file.directory` */
export const fileDirectory = defineState({
  kind: "resource",
  name: "file.directory",
  summary: "Makes a directory with the given owner and mode.",
  params,
  check: async (wanted, context) => {
    const ownership = await readOwnership(context.host, { ...wanted, mode: wanted.mode ?? wanted.dir_mode });
    using held = await hold(wanted, context);
    if (held !== undefined) assertDirectory(wanted, held);
    if (held?.found !== undefined) return compareOwnership(held.found, ownership);
    if (held === undefined && !wanted.makedirs) {
      throw new HostError("no-parent", `cannot make directory "${wanted.name}": its parent directory does not exist`, {
        hint: "set makedirs: true",
      });
    }
    return [{ field: "directory", from: null, to: "new" }];
  },
  apply: async (wanted, context) => {
    const ownership = await readOwnership(context.host, { ...wanted, mode: wanted.mode ?? wanted.dir_mode });
    const made = ownershipOfNew(ownership, DEFAULT_MODE);
    using held = await hold(wanted, context, made.mode);
    if (held === undefined) return;
    assertDirectory(wanted, held);
    if (held.found === undefined) await held.makeDirectory(made);
    else await applyOwnership(held, ownership);
  },
  settled: ({ name }) => `the directory ${name} is in the correct state`,
});
