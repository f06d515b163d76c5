import { createReadStream } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import {
  checkpointSchema,
  type ExportLine,
  ExportVerifier,
  type Verification,
  type WitnessedCheckpoint,
} from "../core/audit/verify.ts";
import type { AuditVerification, MasterStatus, WitnessAnswer } from "../core/control-api.ts";
import { ConfigError, errorMessage, HostError, ProtocolError } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import { z } from "../core/schema.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { timeText } from "./format/table.ts";
import { documentText } from "./output.ts";
import type { Rooms } from "./rooms.ts";

/** What `audit verify` is asked for. */
export interface VerifyOptions {
  /** Of the master that the export is of; needed with a file. */
  readonly fingerprint?: string;
  /** A file of checkpoints that minions keep, as `latchkey run '*' audit.checkpoint --out json` prints them. */
  readonly kept?: string;
  /** Ask the connected minions. */
  readonly witness?: true;
  /** State directory of a master that does not run. */
  readonly store?: string;
  readonly json?: true;
}

const keptSchema = z.record(
  z.string(),
  z.union([z.object({ checkpoint: checkpointSchema.nullable(), dispute: z.string() }), z.string()]),
);

/**
 * `audit verify`: without a file the running master walks its own store; with one, the export alone is proven, no master
 * needed. Status 0 when there is no fault, 1 when there is any.
 */
export async function verifyAudit(
  file: string | undefined,
  options: VerifyOptions,
  context: Context & Pick<Rooms, "verifyAuditStore">,
): Promise<number> {
  const { terminal, paint, client } = context;
  let found: AuditVerification;
  if (options.store !== undefined) {
    if (file !== undefined || options.witness) {
      throw new ConfigError("bad-usage", "cannot use --store with a file or with --witness");
    }
    found = { ...(await context.verifyAuditStore(options.store)), witnesses: [] };
  } else if (file === undefined) {
    if (options.kept !== undefined || options.fingerprint !== undefined) {
      throw new ConfigError("bad-usage", "cannot use --fingerprint and --kept without the file of an export", {
        hint: "write one with `latchkey audit export FILE`",
      });
    }
    found = await client.request<AuditVerification>("GET", `/v1/audit/verify${options.witness ? "?witness=1" : ""}`);
  } else {
    found = { ...(await verifyFile(file, options)), witnesses: [] };
  }
  if (options.json) terminal.print(documentText(found as unknown as JsonObject, "json", paint));
  else terminal.print(verdictText(found, context));
  return found.faults.length === 0 ? 0 : 1;
}

async function verifyFile(file: string, { fingerprint, kept, witness }: VerifyOptions): Promise<Verification> {
  if (fingerprint === undefined) {
    throw new ConfigError("bad-usage", "cannot verify an export without the master's fingerprint", {
      hint: "name it with --fingerprint; it is in `latchkey status`, and every minion has it pinned",
    });
  }
  if (witness) {
    throw new ConfigError("bad-usage", "cannot ask minions about an export: --witness asks a running master", {
      hint: "keep their word in a file and name it with --kept",
    });
  }
  const said = kept === undefined ? { checkpoints: [], disputes: [] } : await readKept(kept);
  const verifier = new ExportVerifier(fingerprint, said.checkpoints);
  try {
    const input = createReadStream(file, "utf8");
    for await (const line of createInterface({ input, crlfDelay: Infinity })) verifier.line(line);
  } catch (cause) {
    throw new ConfigError("no-file", `cannot read "${file}": ${errorMessage(cause)}`, { cause });
  }
  const found = verifier.result();
  return { ...found, faults: [...found.faults, ...said.disputes] };
}

/** What minions keep, and what they hold against the master. */
async function readKept(
  file: string,
): Promise<{ readonly checkpoints: readonly WitnessedCheckpoint[]; readonly disputes: readonly string[] }> {
  try {
    const kept = keptSchema.parse(JSON.parse(await readFile(file, "utf8")));
    const answers = Object.entries(kept).flatMap(([witness, answer]) =>
      typeof answer === "object" ? [{ witness, ...answer }] : [],
    );
    return {
      checkpoints: answers.flatMap(({ witness, checkpoint }) => (checkpoint ? [{ witness, checkpoint }] : [])),
      disputes: answers
        .filter(({ dispute }) => dispute !== "")
        .map(({ witness, dispute }) => `${witness} holds against the master: ${dispute}`),
    };
  } catch (cause) {
    throw new ConfigError("bad-kept", `cannot read kept checkpoints from "${file}"`, {
      cause,
      hint: "make it with: latchkey run '*' audit.checkpoint --out json",
    });
  }
}

function witnessText({ id, checkpoint, problem }: WitnessAnswer, { paint }: Context): string {
  const keeps = checkpoint ? `keeps record ${checkpoint.seq}` : "keeps nothing yet";
  const text = problem === "" ? keeps : paint("yellow", `did not say: ${sanitiseLine(problem)}`);
  return `  ${sanitiseLine(id)} ${text}\n`;
}

function verdictText(found: AuditVerification, context: Context): string {
  const { paint } = context;
  const { records, checkpoints, head, endedAt, faults, witnesses } = found;
  const lines = faults.map((fault) => `${paint("red", "fault")}: ${sanitiseLine(fault)}\n`);
  const walked = `${records} records and ${checkpoints} signed checkpoints, the last record is ${head.seq}`;
  if (faults.length === 0) lines.push(`${paint("green", "verified")}: ${walked}\n`);
  else lines.push(`${paint("red", "NOT verified")}: ${faults.length} faults in ${walked}\n`);
  lines.push(`hash of record ${head.seq}: ${head.hash || "unknown"}\n`);
  if (endedAt !== undefined)
    lines.push(`its end was signed at ${timeText(endedAt)}: of what came later it knows nothing\n`);
  if (witnesses.length > 0) lines.push("witnesses:\n", ...witnesses.map((answer) => witnessText(answer, context)));
  return lines.join("");
}

/** `audit export`: every record and checkpoint as lines of JSON, to a new file or to standard output. */
export async function exportAudit(file: string | undefined, context: Context): Promise<number> {
  const { client, terminal } = context;
  const lines = client.stream<ExportLine>("GET", "/v1/audit/export");
  if (file === undefined) {
    for await (const line of lines) terminal.print(`${JSON.stringify(line)}\n`);
    return 0;
  }
  let records = 0;
  let whole = false;
  try {
    await using handle = await open(file, "wx", 0o600);
    for await (const line of lines) {
      records += Number(line.type === "record");
      whole = line.type === "end";
      await handle.write(`${JSON.stringify(line)}\n`);
    }
    await handle.sync();
  } catch (cause) {
    if (!(cause instanceof Error && "syscall" in cause)) throw cause;
    throw new HostError("file-failed", `cannot write "${file}": ${cause.message}`, { cause });
  }
  if (!whole) throw new ProtocolError("bad-answer", `cannot use "${file}": the master ended the export early`);
  const { fingerprint } = await client.request<MasterStatus>("GET", "/v1/status");
  terminal.print(`exported ${records} records to ${file}; prove it anywhere, without this master, with:\n`);
  terminal.print(`  latchkey audit verify ${file} --fingerprint ${sanitiseLine(fingerprint)}\n`);
  return 0;
}
