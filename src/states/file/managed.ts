import { dirname } from "node:path";
import { HostError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import {
  accountParam,
  applyOwnership,
  compareOwnership,
  modeParam,
  type Ownership,
  readOwnership,
} from "../devices/ownership.ts";
import { absolutePath } from "../devices/storage-params.ts";
import { type Change, type CheckContext, defineState } from "../state.ts";
import { wantedContent } from "./content.ts";
import { assertChecked } from "./check-content.ts";
import { contentChange } from "./difference.ts";

const NEW_MODE = 0o644;
const NEW_DIRECTORY_MODE = 0o755;

const scalar = z.union([z.string(), z.number(), z.boolean()]);
const table = z.record(z.string(), z.unknown());

const params = z
  .strictObject({
    name: absolutePath.describe("The file"),
    source: z
      .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
      .optional()
      .describe("Where its content is: salt://path in the file roots; of a list the first that exists"),
    source_hash: z.string().optional().describe("Hash that the source must have, such as sha256=<hex>"),
    contents: z
      .union([scalar, z.array(scalar)])
      .optional()
      .describe("Its content as text or as lines, in place of source"),
    template: z.literal("handlebars").optional().describe("Render the content as a template first"),
    context: table.optional().describe("Values for the template"),
    defaults: table.optional().describe("Values for the template where context has none"),
    user: accountParam.optional().describe("Its owner, by name or number"),
    group: accountParam.optional().describe("Its group, by name or number"),
    mode: modeParam.optional().describe("Permission bits, such as 0644; a new file gets 0644"),
    makedirs: z.boolean().default(false).describe("Make missing parent directories"),
    dir_mode: modeParam.optional().describe("Permission bits of the parent directories that are made"),
    replace: z.boolean().default(true).describe("Replace other content; when false only a missing file gets content"),
    check_cmd: z
      .union([z.string().min(1), z.array(z.string().min(1))])
      .optional()
      .describe("Shell command, the new content's path behind it, that must succeed before the file is replaced"),
    show_changes: z.boolean().default(true).describe("Show the difference; when false no content appears anywhere"),
  })
  .refine(
    ({ source, contents }) => source === undefined || contents === undefined,
    "give source or contents, not both",
  );
type Params = z.infer<typeof params>;

interface Plan {
  readonly content: Buffer | undefined;
  readonly ownership: Ownership;
  readonly changes: readonly Change[];
}

async function plan(wanted: Params, context: CheckContext): Promise<Plan> {
  const { host } = context;
  const { name } = wanted;
  const ownership = await readOwnership(host, wanted);
  const content = await wantedContent(wanted, context);
  const stat = await host.stat(name);
  if (stat === undefined) {
    if (!wanted.makedirs && (await host.stat(dirname(name)))?.kind !== "directory") {
      throw new HostError("no-parent", `cannot write "${name}": its directory does not exist`, {
        hint: "set makedirs: true",
      });
    }
    return { content: content ?? Buffer.alloc(0), ownership, changes: [{ field: "diff", from: null, to: "New file" }] };
  }
  if (stat.kind !== "file") {
    throw new HostError("not-a-file", `cannot write "${name}": there is a ${stat.kind}`, { facts: { path: name } });
  }
  const owners = compareOwnership(stat, ownership);
  if (content === undefined || !wanted.replace) return { content: undefined, ownership, changes: owners };
  const present = (await host.readFile(name)) ?? Buffer.alloc(0);
  if (present.equals(content)) return { content: undefined, ownership, changes: owners };
  return { content, ownership, changes: [contentChange(name, present, content, wanted.show_changes), ...owners] };
}

/** `file.managed`: replaces the file whole, by a rename, with its owner and mode right from the first byte. */
export const fileManaged = defineState({
  kind: "resource",
  name: "file.managed",
  summary: "Writes a file from the file roots or inline contents, with owner and mode.",
  params,
  check: async (wanted, context) => (await plan(wanted, context)).changes,
  apply: async (wanted, context) => {
    const { host } = context;
    const { content, ownership } = await plan(wanted, context);
    if (content !== undefined) {
      const directory = dirname(wanted.name);
      if (wanted.makedirs && (await host.stat(directory)) === undefined) {
        await host.makeDirectory(directory, Number.parseInt(String(wanted.dir_mode ?? ""), 8) || NEW_DIRECTORY_MODE);
      }
      // a link stays a link: what it points to is replaced
      const path = (await host.realPath(wanted.name)) ?? wanted.name;
      const before = await host.stat(path);
      const uid = ownership.uid ?? before?.uid;
      const gid = ownership.gid ?? before?.gid;
      await assertChecked(context, path, content, wanted);
      await host.writeFile(path, content, {
        mode: ownership.mode ?? before?.mode ?? NEW_MODE,
        ...(uid === undefined ? {} : { uid }),
        ...(gid === undefined ? {} : { gid }),
      });
    }
    await applyOwnership(host, wanted.name, ownership);
  },
  settled: ({ name }) => `file ${name} is in the correct state`,
});
