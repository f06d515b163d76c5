import { HostError } from "../../core/errors.ts";
import type { HeldPath, WriteOptions } from "../../core/host.ts";
import { z } from "../../core/schema.ts";
import {
  accountParam,
  applyOwnership,
  compareOwnership,
  modeParam,
  type Ownership,
  ownershipOfNew,
  readOwnership,
} from "../devices/ownership.ts";
import { unsafePathParam } from "../devices/held.ts";
import { absolutePath } from "../devices/storage-params.ts";
import { type Change, type CheckContext, defineState } from "../state.ts";
import { wantedContent } from "./content.ts";
import { assertChecked } from "./check-content.ts";
import { contentChange } from "./difference.ts";

const NEW_MODE = 0o644;
const NEW_DIRECTORY_MODE = 0o755;
/** Read, write and execute, without set-user-id and its like. */
const PLAIN_MODE = 0o777;

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
    allow_unsafe_path: unsafePathParam,
  })
  .refine(
    ({ source, contents }) => source === undefined || contents === undefined,
    "give source or contents, not both",
  );
type Params = z.infer<typeof params>;

interface Plan {
  /** What to write, and how; undefined when no content has to be written. */
  readonly write: { readonly content: Buffer; readonly options: WriteOptions } | undefined;
  readonly ownership: Ownership;
  readonly changes: readonly Change[];
}

const parentMode = ({ dir_mode: mode }: Params): number => Number.parseInt(String(mode ?? ""), 8) || NEW_DIRECTORY_MODE;

const hold = (wanted: Params, { host }: CheckContext, parentsMode?: number) =>
  host.holdPath(wanted.name, {
    // a link stays a link: what it points to is replaced
    followLast: true,
    allowUnsafePath: wanted.allow_unsafe_path,
    ...(parentsMode === undefined ? {} : { parentsMode }),
  });

/**
 * Owner and mode of a file that is written: of the old one, what the state does not give. Where others can put a file in the
 * place, one of another owner gives nothing, and none gives more than the plain permissions.
 */
function writeOptions({ found, unsafe }: HeldPath, ownership: Ownership): WriteOptions {
  const isMeant = unsafe === "" || ownership.uid === undefined || ownership.uid === found?.uid;
  const before = isMeant ? found : undefined;
  const mode = before && (unsafe === "" ? before.mode : before.mode & PLAIN_MODE);
  const uid = ownership.uid ?? before?.uid;
  const gid = ownership.gid ?? before?.gid;
  return ownershipOfNew({ uid, gid, mode: ownership.mode }, mode ?? NEW_MODE);
}

async function plan(wanted: Params, context: CheckContext, held: HeldPath | undefined): Promise<Plan> {
  const { name } = wanted;
  const ownership = await readOwnership(context.host, wanted);
  const content = await wantedContent(wanted, context);
  const found = held?.found;
  if (found === undefined) {
    if (held === undefined && !wanted.makedirs) {
      throw new HostError("no-parent", `cannot write "${name}": its directory does not exist`, {
        hint: "set makedirs: true",
      });
    }
    const write = { content: content ?? Buffer.alloc(0), options: ownershipOfNew(ownership, NEW_MODE) };
    return { write, ownership, changes: [{ field: "diff", from: null, to: "New file" }] };
  }
  if (found.kind !== "file") {
    throw new HostError("not-a-file", `cannot write "${name}": there is a ${found.kind}`, { facts: { path: name } });
  }
  const owners = compareOwnership(found, ownership);
  if (held === undefined || content === undefined || !wanted.replace) {
    return { write: undefined, ownership, changes: owners };
  }
  const present = await held.readFile();
  const write = { content, options: writeOptions(held, ownership) };
  if (!present.equals(content)) {
    return { write, ownership, changes: [contentChange(name, present, content, wanted.show_changes), ...owners] };
  }
  // a file that others can have put there is made anew rather than given away
  return { write: held.unsafe !== "" && owners.length > 0 ? write : undefined, ownership, changes: owners };
}

function assertNoCheck({ name, check_cmd: check }: Params, { unsafe }: HeldPath): void {
  if (unsafe === "" || check === undefined || check.length === 0) return;
  throw new HostError("unsafe-path", `cannot let check_cmd look at "${name}": ${unsafe}`, {
    hint: "another user could put something else there: leave check_cmd out, or let root alone write there",
  });
}

/** `file.managed`: replaces the file whole, by a rename, with its owner and mode right from the first byte. */
export const fileManaged = defineState({
  kind: "resource",
  name: "file.managed",
  summary: "Writes a file from the file roots or inline contents, with owner and mode.",
  params,
  check: async (wanted, context) => {
    using held = await hold(wanted, context);
    if (held !== undefined) assertNoCheck(wanted, held);
    return (await plan(wanted, context, held)).changes;
  },
  apply: async (wanted, context) => {
    using held = await hold(wanted, context, wanted.makedirs ? parentMode(wanted) : undefined);
    const { write, ownership } = await plan(wanted, context, held);
    if (held === undefined) return;
    if (write === undefined) {
      await applyOwnership(held, ownership);
      return;
    }
    assertNoCheck(wanted, held);
    await assertChecked(context, held.path, write.content, wanted);
    await held.writeFile(write.content, write.options);
  },
  settled: ({ name }) => `file ${name} is in the correct state`,
});
