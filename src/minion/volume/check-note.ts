import { join } from "node:path";
import type { Host } from "../../core/host.ts";
import { z } from "../../core/schema.ts";
import { volumeProblemSchema } from "../../core/volume-report.ts";

const noteSchema = z.object({
  /** When it was checked, milliseconds since the epoch. */
  at: z.number(),
  luksUuid: z.string(),
  headerDigest: z.string(),
  /** The stored key that was seen to open it, and when; zeros for none. */
  proven: z.object({ version: z.number(), at: z.number() }),
  problems: z.array(volumeProblemSchema),
});
/** What the last check of a volume found; it holds for as long as the header is the very same. */
export type CheckNote = z.infer<typeof noteSchema>;

const directoryOf = (stateDir: string) => join(stateDir, "volumes");
// names of volumes begin with a letter or digit and have no slash
const pathOf = (stateDir: string, volume: string) => join(directoryOf(stateDir), `${volume}.json`);

/** What was kept of the last check; undefined for none, or one that does not read. */
export async function readCheckNote(host: Host, stateDir: string, volume: string): Promise<CheckNote | undefined> {
  const bytes = await host.readFile(pathOf(stateDir, volume));
  if (bytes === undefined) return undefined;
  try {
    return noteSchema.safeParse(JSON.parse(bytes.toString("utf8"))).data;
  } catch {
    // torn by a power cut on a file system without order: the next check writes it anew
    return undefined;
  }
}

/** The proof of the last check, when it was of this very header. */
export async function readProof(
  host: Host,
  stateDir: string,
  volume: string,
  headerDigest: string,
): Promise<CheckNote["proven"] | undefined> {
  const note = await readCheckNote(host, stateDir, volume);
  return note !== undefined && headerDigest !== "" && note.headerDigest === headerDigest ? note.proven : undefined;
}

/** Keeps what a check found. */
export async function writeCheckNote(host: Host, stateDir: string, volume: string, note: CheckNote): Promise<void> {
  await host.makeDirectory(directoryOf(stateDir), 0o700);
  await host.writeFile(pathOf(stateDir, volume), Buffer.from(JSON.stringify(note)), { mode: 0o600 });
}
